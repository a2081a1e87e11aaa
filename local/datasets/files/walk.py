"""The files below a folder."""

import os
from pathlib import Path

from train.data.pairs import IMAGE_SUFFIXES


def list_files(root: Path, suffixes: tuple[str, ...] = ("",), depth: int | None = None) -> list[str]:
    """Return the files whose names end in one of `suffixes`, in order: paths below `root`, with `/`.

    They are at any depth, or at most `depth` folders below. Hidden ones are passed over, and macOS's __MACOSX. Links to
    folders are followed, each folder is read once.
    """
    found: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        place = Path(folder).relative_to(root).parts
        if len(place) == depth:
            folders.clear()
        visible = (name for name in names if name.lower().endswith(suffixes) and not name.startswith("."))
        found += [(*place, name) for name in visible if os.path.isfile(f"{folder}/{name}")]
    return ["/".join(pieces) for pieces in sorted(found)]


def list_nearby(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return those in `root`, and then those one folder below it."""
    return [root / name for name in sorted(list_files(root, suffixes, depth=1), key=lambda name: name.count("/"))]


def is_photo(name: str) -> bool:
    """Return whether a name ends as those of photos do."""
    return name.lower().endswith(IMAGE_SUFFIXES)
