"""Files that a list names by paths of another place: found below the folder by how the paths end.

/home/ann/data/cat/1.jpg, C:\\data\\cat\\1.jpg and s3://bucket/data/cat/1.jpg are here cat/1.jpg, and so is cat/1. Case
does not count, nor how macOS writes ä; `:` may have become `_`, as on Windows. Nothing outside of the folder is found.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from local.datasets.files import walk
from local.datasets.notes import MISSING, SEVERAL
from train.data import pairs, parts

_Pieces = tuple[str, ...]


class Match(NamedTuple):
    """The file that a path names; or why there is none, MISSING or SEVERAL, and the path, in words for notes.

    `candidates` are the files that it may name where it cannot be told which.
    """

    path: Path | None
    why: str = ""
    words: str = ""
    candidates: tuple[Path, ...] = ()


class Files:
    """Files below `root`, by their paths in it."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root, self.names = root, list(names)
        self._by_name: dict[str, list[_Pieces]] = defaultdict(list)
        self._by_base: dict[str, list[_Pieces]] = defaultdict(list)
        for name in self.names:
            pieces = tuple(name.split("/"))
            self._by_name[_plain(pieces[-1])].append(pieces)
            if walk.is_photo(name):
                self._by_base[_plain(pairs.base_name(name))].append(pieces)

    def find(self, texts: Sequence[str], folder: Path, of_parts: Sequence[str] = ()) -> list[Match]:
        """Return what each path names: the file whose path has the longest end in common with it.

        Of several, the one that it is a path to, from `folder`, which holds the list, or from `root`; then one in a
        folder of its part, by `of_parts`; then the nearest to `folder`. Of two paths that name one file, the one that
        has more in common with it has it.
        """
        base = folder.relative_to(self.root).parts
        found = [self._find(text, base, part) for text, part in zip(texts, of_parts or [""] * len(texts), strict=True)]
        claims: dict[_Pieces, dict[_Pieces, tuple[tuple[int, int], str]]] = defaultdict(dict)
        for text, one in zip(texts, found, strict=True):
            if len(one.files) == 1:
                claims[one.files[0]].setdefault(one.wanted, (one.fit, text))
        owners = {file: _owners(claim) for file, claim in claims.items()}
        return [self._match(text, one, owners) for text, one in zip(texts, found, strict=True)]

    def _find(self, text: str, base: _Pieces, part: str) -> "_Found":
        # A backslash may be of a name, but where nothing has that name it is of Windows.
        for path in (text, text.replace("\\", "/")):
            wanted = tuple(piece for piece in re.split(r"/|\?d=", path) if piece not in ("", ".", ".."))
            if files := self._named(wanted[-1]) if wanted else ():
                ranks = [_rank(wanted, file, base, part) for file in files]
                best = max(ranks)
                return _Found(wanted, best[:2], [file for file, one in zip(files, ranks, strict=True) if one == best])
        return _Found((), (0, 0), [])

    def _named(self, name: str) -> Sequence[_Pieces]:
        """The files of a name, or the photos of one without ending."""
        return self._by_name.get(_plain(name)) or (not walk.is_photo(name) and self._by_base.get(_plain(name))) or ()

    def _match(self, text: str, one: "_Found", owners: Mapping[_Pieces, "_Owners"]) -> Match:
        paths = tuple(self.root.joinpath(*file) for file in one.files)
        if len(one.files) > 1:
            return Match(None, SEVERAL, f"{text} may be {' or '.join(map('/'.join, one.files[:2]))}", paths)
        owner = owners[one.files[0]] if one.files else None
        if owner is None or one.fit < owner.fit:
            return Match(None, MISSING, text)
        if len(owner.texts) > 1:
            return Match(None, SEVERAL, f"{'/'.join(one.files[0])} may be {' or '.join(owner.texts[:2])}", paths)
        return Match(paths[0])


class _Found(NamedTuple):
    """The pieces of a path, how much those files have in common with it that fit it best, and the files."""

    wanted: _Pieces
    fit: tuple[int, int]
    files: list[_Pieces]


class _Owners(NamedTuple):
    """Of all paths that name a file those that fit it best, and how well."""

    fit: tuple[int, int]
    texts: list[str]


def photos(root: Path) -> Files:
    """The photos at any depth below `root`; one that is not read gives way to its like in the same folder that is."""
    return Files(root, pairs.select_images(walk.list_files(root, pairs.IMAGE_SUFFIXES)))


def _owners(claim: Mapping[_Pieces, tuple[tuple[int, int], str]]) -> _Owners:
    most = max(fit for fit, _ in claim.values())
    return _Owners(most, [text for fit, text in claim.values() if fit == most])


def _rank(wanted: _Pieces, file: _Pieces, base: _Pieces, part: str) -> tuple[int, int, bool, int, bool]:
    """How well a file fits: the pieces in common at its end, its place, part and nearness, and letter for letter."""
    head = file[:-1]
    place = 2 if head == (*base, *wanted[:-1]) else int(head == wanted[:-1])
    agrees = bool(part) and part in map(parts.part_of, head)
    common = 1 + _common(wanted[-2::-1], file[-2::-1])
    return common, place, agrees, _common(base, head), file[-1] == wanted[-1]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many pieces two paths have in common, from their first on."""
    count = 0
    while count < min(len(one), len(other)) and _plain(one[count]) == _plain(other[count]):
        count += 1
    return count


def _plain(name: str) -> str:
    """What two names share that are one to some file system."""
    return unicodedata.normalize("NFC", name).casefold().replace(":", "_")
