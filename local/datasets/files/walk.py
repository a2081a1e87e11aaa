"""List the files below a folder."""

import os
from pathlib import Path

from train.data.pairs import IMAGE_SUFFIXES


def list_files(root: Path, suffixes: tuple[str, ...] = ("",), depth: int | None = None) -> list[str]:
    """Return the sorted paths, relative to `root` and with `/`, of files that end in one of `suffixes`.

    Search at most `depth` folders deep, or at any depth. Skip hidden files and folders and macOS's __MACOSX. Follow
    links to folders, but read each folder only once.
    """
    paths: list[tuple[str, ...]] = []
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
        paths += [(*place, name) for name in visible if os.path.isfile(f"{folder}/{name}")]
    return ["/".join(pieces) for pieces in sorted(paths)]


def list_nearby(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files in `root` and then those one folder below it."""
    return [root / name for name in sorted(list_files(root, suffixes, depth=1), key=lambda name: name.count("/"))]


def is_photo(name: str) -> bool:
    """Return whether a name has the extension of a photo."""
    return name.lower().endswith(IMAGE_SUFFIXES)
