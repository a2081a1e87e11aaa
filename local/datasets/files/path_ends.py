"""Files below a folder by the ends of their paths: what an annotation calls s3://bucket/a/b/1.jpg is here b/1.jpg."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_Parts = tuple[str, ...]


@dataclass
class Found:
    """The file for each name that has one; names without one; and, in words, those for which two files may be meant."""

    files: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    doubtful: dict[str, str] = field(default_factory=dict)


def find(root: Path, names: Iterable[str]) -> Found:
    """Look for files below `root`; `names` are paths or URLs of another place, and nothing outside `root` is found.

    A name's file is the one that shares the most parts with it, counted from the end, and at least the last. Where two
    names have one file, it is that of the name that shares more with it. Folders that begin with a dot are passed over.
    """
    wanted = {name: _parts(name) for name in dict.fromkeys(names)}
    here = _files(root, {parts[-1] for parts in wanted.values() if parts})
    found = Found()
    claims: dict[Path, dict[str, int]] = defaultdict(dict)
    for name, parts in wanted.items():
        shared = {path: _shared(parts, other) for path, other in here.get(parts[-1], {}).items()} if parts else {}
        best = [path for path, count in shared.items() if count == max(shared.values())]
        if len(best) == 1:
            claims[best[0]][name] = shared[best[0]]
        elif best:
            found.doubtful[name] = f"{name} may be {' or '.join(str(path.relative_to(root)) for path in best[:2])}"
    for path, owners in claims.items():
        first, *others = [name for name, count in owners.items() if count == max(owners.values())]
        if not others:
            found.files[first] = path
        else:
            words = f"{path.relative_to(root)} may be {first} or {others[0]}"
            found.doubtful |= dict.fromkeys([first, *others], words)
    found.missing = [name for name in wanted if name not in found.files and name not in found.doubtful]
    return found


def _files(root: Path, names: set[str]) -> dict[str, dict[Path, _Parts]]:
    """The files below `root` that have one of `names`, by name, each with the parts of its path."""
    found: dict[str, dict[Path, _Parts]] = defaultdict(dict)
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            if _plain(file) in names:
                path = Path(folder, file)
                found[_plain(file)][path] = tuple(_plain(part) for part in path.relative_to(root).parts)
    return found


def _parts(name: str) -> _Parts:
    path = name.partition("://")[2] or name
    return tuple(_plain(part) for part in re.split(r"[/\\]", path) if part not in ("", ".", ".."))


def _plain(part: str) -> str:
    """A name as all file systems have it: macOS takes letters with accents apart, Windows has no colon."""
    return unicodedata.normalize("NFC", part).replace(":", "_")


def _shared(one: _Parts, other: _Parts) -> int:
    """How many parts are the same, counted from the end."""
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count
