"""Names of files and folders in a channel: what every file system, list and terminal can have in a name."""

import re
from collections.abc import Sequence
from pathlib import Path

from local.errors import UserError

# What Windows cannot have too, as channels may be copied there; ends of lines, which a .lst file cannot have in a path;
# and bytes that are not UTF-8, as Python keeps them.
_STRANGE = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff/\\:*?"<>|]|^\.|[. ]$')


def safe(name: str) -> str:
    """Return a name with `_` for what it cannot have, or would be hidden by."""
    return _STRANGE.sub("_", name) or "_"


def printable(text: str) -> str:
    """Return a text without what a terminal would obey or cannot show."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def channel_names(paths: Sequence[Path], folders: Sequence[str] | None = None) -> list[str]:
    """Return what photos are called in a channel: their base names, numbered where a folder would have one twice.

    `folders` are where they will lie in the channel, one for each photo. Names that differ in case only count as one,
    as they do to the file systems of macOS and Windows.
    """
    places = [*zip(folders or [""] * len(paths), (safe(path.stem) for path in paths), strict=True)]
    taken = {(folder, name.casefold()) for folder, name in places}
    seen: set[tuple[str, str]] = set()
    names = []
    for folder, base in places:
        name, number = base, 1
        if (folder, base.casefold()) in seen:
            while (folder, name.casefold()) in taken:
                number += 1
                name = f"{base}-{number}"
            taken.add((folder, name.casefold()))
        seen.add((folder, base.casefold()))
        names.append(name)
    return names


def folder_names(names: Sequence[str]) -> list[str]:
    """Return the folder for each class name. Raises UserError for two classes that would share one."""
    folders = [safe(name) for name in names]
    owners: dict[str, str] = {}
    for folder, name in zip(folders, names, strict=True):
        other = owners.setdefault(folder.casefold(), name)
        if other != name:
            raise UserError(f"the classes {other!r} and {name!r} would share the folder {folder}/: rename one of them")
    return folders
