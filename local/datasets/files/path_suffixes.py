"""Find files by the ends of paths that were written on another machine.

/home/ann/data/cat/1.jpg, C:\\data\\cat\\1.jpg, s3://bucket/data/cat/1.jpg and cat/1 all match cat/1.jpg. The comparison
ignores case and Unicode normalization (macOS), and treats `:` as `_` (Windows). Only files below the folder can match.
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
    """The file that a path names, or None with a reason, MISSING or SEVERAL, and a description for notes.

    `candidates` are the possible files of an ambiguous path.
    """

    path: Path | None
    reason: str = ""
    description: str = ""
    candidates: tuple[Path, ...] = ()


class Files:
    """Files below `root`, searchable by the ends of their paths."""

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
        """Return the match of each path: the file that shares the longest path suffix with it.

        Ties are resolved in this order: a file at exactly this path relative to `folder`, which holds the list, or to
        `root`; a file in a folder of the path's part, given in `of_parts`; the file nearest to `folder`. If two paths
        match the same file, the longer shared suffix wins.
        """
        base = folder.relative_to(self.root).parts
        candidates = [
            self._candidates(text, base, part) for text, part in zip(texts, of_parts or [""] * len(texts), strict=True)
        ]
        claims: dict[_Pieces, dict[_Pieces, tuple[tuple[int, int], str]]] = defaultdict(dict)
        for text, candidate in zip(texts, candidates, strict=True):
            if len(candidate.files) == 1:
                claims[candidate.files[0]].setdefault(candidate.pieces, (candidate.score, text))
        owners = {file: _owners(claim) for file, claim in claims.items()}
        return [self._match(text, candidate, owners) for text, candidate in zip(texts, candidates, strict=True)]

    def _candidates(self, text: str, base: _Pieces, part: str) -> "_Candidates":
        # A backslash may be part of a name. Treat it as a Windows separator if no file has that name.
        for path in (text, text.replace("\\", "/")):
            pieces = tuple(piece for piece in re.split(r"/|\?d=", path) if piece not in ("", ".", ".."))
            if files := self._named(pieces[-1]) if pieces else ():
                ranks = [_rank(pieces, file, base, part) for file in files]
                best = max(ranks)
                return _Candidates(
                    pieces, best[:2], [file for file, rank in zip(files, ranks, strict=True) if rank == best]
                )
        return _Candidates((), (0, 0), [])

    def _named(self, name: str) -> Sequence[_Pieces]:
        """Return the files with this name, or the photos with this base name if it has no photo extension."""
        return self._by_name.get(_plain(name)) or (not walk.is_photo(name) and self._by_base.get(_plain(name))) or ()

    def _match(self, text: str, candidate: "_Candidates", owners: Mapping[_Pieces, "_Owners"]) -> Match:
        paths = tuple(self.root.joinpath(*file) for file in candidate.files)
        if len(candidate.files) > 1:
            return Match(None, SEVERAL, f"{text} may be {' or '.join(map('/'.join, candidate.files[:2]))}", paths)
        owner = owners[candidate.files[0]] if candidate.files else None
        if owner is None or candidate.score < owner.score:
            return Match(None, MISSING, text)
        if len(owner.texts) > 1:
            return Match(None, SEVERAL, f"{'/'.join(candidate.files[0])} may be {' or '.join(owner.texts[:2])}", paths)
        return Match(paths[0])


class _Candidates(NamedTuple):
    """The pieces of a path, the best score of a file, and the files with that score."""

    pieces: _Pieces
    score: tuple[int, int]
    files: list[_Pieces]


class _Owners(NamedTuple):
    """The paths that match a file with the best score, and that score."""

    score: tuple[int, int]
    texts: list[str]


def photos(root: Path) -> Files:
    """Return the photos at any depth below `root`. Of 1.heic and 1.jpg in one folder, return the readable one."""
    return Files(root, pairs.select_images(walk.list_files(root, pairs.IMAGE_SUFFIXES)))


def _owners(claim: Mapping[_Pieces, tuple[tuple[int, int], str]]) -> _Owners:
    best = max(score for score, _ in claim.values())
    return _Owners(best, [text for score, text in claim.values() if score == best])


def _rank(pieces: _Pieces, file: _Pieces, base: _Pieces, part: str) -> tuple[int, int, bool, int, bool]:
    """Rank a file by length of the shared suffix, exact path, part, shared prefix with `base` and exact name."""
    head = file[:-1]
    place = 2 if head == (*base, *pieces[:-1]) else int(head == pieces[:-1])
    agrees = bool(part) and part in map(parts.part_of, head)
    common = 1 + _common(pieces[-2::-1], file[-2::-1])
    return common, place, agrees, _common(base, head), file[-1] == pieces[-1]


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many leading pieces two paths have in common."""
    count = 0
    while count < min(len(first), len(second)) and _plain(first[count]) == _plain(second[count]):
        count += 1
    return count


def _plain(name: str) -> str:
    """Normalize a name for comparison."""
    return unicodedata.normalize("NFC", name).casefold().replace(":", "_")
