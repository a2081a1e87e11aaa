"""Names of files and folders in a channel that are valid on every file system and in lists."""

import re
from collections.abc import Sequence
from pathlib import Path

from local.errors import UserError

# Characters that Windows rejects, because channels may be copied there; line ends, which would break .lst files; and
# the surrogates that Python uses for bytes that are not UTF-8.
_INVALID = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff/\\:*?"<>|]|^\.|[. ]$')


def safe(name: str) -> str:
    """Return a name with `_` in place of invalid characters and of a leading dot, which would hide the file."""
    return _INVALID.sub("_", name) or "_"


def printable(text: str) -> str:
    """Escape the control characters and other unprintable characters of a text for a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def channel_names(paths: Sequence[Path], folders: Sequence[str] | None = None) -> list[str]:
    """Return the name of each photo in a channel: its base name, numbered if its folder already has that name.

    `folders` is the folder of each photo in the channel. Names are compared ignoring case, as on macOS and Windows.
    """
    places = [*zip(folders or [""] * len(paths), (safe(path.stem) for path in paths), strict=True)]
    used = {(folder, name.casefold()) for folder, name in places}
    seen: set[tuple[str, str]] = set()
    names = []
    for folder, base in places:
        name, number = base, 1
        if (folder, base.casefold()) in seen:
            while (folder, name.casefold()) in used:
                number += 1
                name = f"{base}-{number}"
            used.add((folder, name.casefold()))
        seen.add((folder, base.casefold()))
        names.append(name)
    return names


def folder_names(names: Sequence[str]) -> list[str]:
    """Return the folder name for each class. Raise UserError if two classes would share one."""
    folders = [safe(name) for name in names]
    owners: dict[str, str] = {}
    for folder, name in zip(folders, names, strict=True):
        other = owners.setdefault(folder.casefold(), name)
        if other != name:
            raise UserError(f"the classes {other!r} and {name!r} would share the folder {folder}/: rename one of them")
    return folders
