"""Photos that a file lists by their paths, which were written elsewhere: found below the folder by how they end.

A path may be of another machine: /home/ann/data/cat/1.jpg, C:\\data\\cat\\1.jpg, s3://bucket/data/cat/1.jpg. Of the
photos below the folder it names the one whose path has the longest end in common with it. Nothing outside is found.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from local.datasets.dataset import Known
from local.datasets.files.parts import part_of
from local.errors import UserError
from train.data.pairs import IMAGES

MISSING = "listed photos that are not in the folder, left out"
SEVERAL = "listed photos of which the folder holds several of that name, left out"
NO_PHOTO = "classes without a photo, left out"
TWICE = "photos that are listed again, taken once"

Pieces = tuple[str, ...]
_Rank = tuple[int, int, bool, bool]


@dataclass(frozen=True)
class Line(Generic[Known]):
    """A photo as a file lists it: the place of the line in words, the path, what is known of the photo, its part."""

    where: str
    text: str
    known: Known
    part: str = ""


class PhotoFiles:
    """The photos at any depth below a folder, but for hidden ones, by their names; links to folders are followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Pieces]] = defaultdict(list)
        self._by_stem: dict[str, list[Pieces]] = defaultdict(list)
        seen: set[str] = set()
        for folder, below, names in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            below[:] = [] if real in seen else sorted(name for name in below if not name.startswith("."))
            if real in seen:
                continue
            seen.add(real)
            inside = Path(folder).relative_to(root).parts
            for name in sorted(names):
                if is_photo(name) and not name.startswith("."):
                    self._by_name[_key(name)].append((*inside, name))
                    self._by_stem[_key(os.path.splitext(name)[0])].append((*inside, name))

    def find(self, texts: Sequence[str], folder: Path, parts: Sequence[str] = ()) -> list[Path | str]:
        """Return for each path the photo, or why there is none: MISSING or SEVERAL.

        `folder` is the one of the file that lists them. `parts` decide between train/1.jpg and test/1.jpg. When two
        paths would be one photo, the one that has more of its path in common with it is meant.
        """
        base = folder.relative_to(self.root).parts
        best = [self._best(text, base, part) for text, part in zip(texts, parts or [""] * len(texts), strict=True)]
        owners: dict[Pieces, set[tuple[_Rank, Pieces]]] = defaultdict(set)
        for wanted, rank, photos in best:
            if len(photos) == 1:
                owners[photos[0]].add((rank, wanted))
        found: list[Path | str] = []
        for wanted, rank, photos in best:
            if len(photos) != 1:
                found.append(SEVERAL if photos else MISSING)
                continue
            most = max(owners[photos[0]])[0][:2]
            rivals = {other for others, other in owners[photos[0]] if others[:2] == most}
            if rank[:2] < most:
                found.append(MISSING)
            else:
                found.append(self.root.joinpath(*photos[0]) if rivals == {wanted} else SEVERAL)
        return found

    def _best(self, text: str, base: Pieces, part: str) -> tuple[Pieces, _Rank, list[Pieces]]:
        """The pieces of a path, how well they fit the photos that they fit best, and those photos."""
        for path in (text, text.replace("\\", "/")):
            wanted = tuple(piece for piece in re.split(r"/|\?d=", path) if piece not in ("", ".", ".."))
            by = self._by_name if is_photo(path) else self._by_stem
            if wanted and (photos := by.get(_key(wanted[-1]))):
                ranks = [_rank(wanted, photo, base, part) for photo in photos]
                top = max(ranks)
                return wanted, top, [photo for photo, rank in zip(photos, ranks, strict=True) if rank == top]
        return (), (0, 0, False, False), []


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files in `root` and one folder below that end in one of `suffixes`, but for hidden ones, by name."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]
    return [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(suffixes) and not path.name.startswith(".") and path.is_file()
    ]


def locate(
    files: PhotoFiles, lines: Sequence[Line[Known]], path: Path, notes: dict[str, list[str]]
) -> list[tuple[Line[Known], Path]]:
    """Return the lines of the file `path` whose photos are there, with the photos; `notes` gets the others.

    Raises UserError naming the file when most of its photos are not there.
    """
    found = files.find([line.text for line in lines], path.parent, [line.part for line in lines])
    located = [(line, photo) for line, photo in zip(lines, found, strict=True) if isinstance(photo, Path)]
    others = [(line, photo) for line, photo in zip(lines, found, strict=True) if isinstance(photo, str)]
    if len(others) > len(located):
        line, why = others[0]
        what = "is not" if why == MISSING else "is the name of several photos"
        raise UserError(
            f"{line.where} names {line.text[:120]!r}, which {what} below {files.root}, as with {len(others)} of the "
            f"{len(lines)} photos listed: give the folder that holds the photos and the list; what counts is how paths "
            "end, such as cat/1.jpg"
        )
    for line, why in others:
        notes.setdefault(why, []).append(line.text)
    return located


def once(
    located: Sequence[tuple[Line[Known], Path]], notes: dict[str, list[str]], fix: str
) -> list[tuple[Line[Known], Path]]:
    """Return every photo once; `notes` gets those that are listed again.

    Raises UserError naming both lines when they differ in what is known of it, with the `fix` in words, or in its part.
    """
    first: dict[Path, Line[Known]] = {}
    for line, photo in located:
        other = first.setdefault(photo, line)
        if other is line:
            continue
        if other.known != line.known:
            raise UserError(f"{line.where} lists {photo.name} again, and not as in {other.where}: {fix}")
        if other.part != line.part:
            raise UserError(
                f"{line.where} lists {photo.name}, which is in another part in {other.where}: remove it from one of "
                "them, or the accuracy is measured on photos that were trained on"
            )
        notes.setdefault(TWICE, []).append(photo.name)
    return [(line, photo) for photo, line in first.items()]


def is_photo(name: str) -> bool:
    """Return whether a name ends as those of photos do."""
    return name.lower().endswith(IMAGES)


def _rank(wanted: Pieces, photo: Pieces, base: Pieces, part: str) -> _Rank:
    """How well a photo's path fits: the pieces in common at its end, its place, its part, and letter for letter."""
    common = 1
    while common < min(len(wanted), len(photo)) and _key(wanted[-common - 1]) == _key(photo[-common - 1]):
        common += 1
    head = photo[:-1]
    place = 2 if head == (*base, *wanted[:-1]) else int(head == wanted[:-1])
    agrees = bool(part) and part in map(part_of, head)
    return common, place, agrees, photo[-1] == wanted[-1]


def _key(name: str) -> str:
    """What two names share that differ in case, or in how macOS writes the letter ü."""
    return unicodedata.normalize("NFC", name).casefold()
