"""Photos below a folder, found by what a data set's files call them, and the part that a path names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple, TypeVar

from local.datasets.dataset import TRAIN, VALIDATION
from train.data import pairs
from train.data.channels import Channel

TEST = "test"
"""The part that a user holds back: neither to train on nor to validate on."""
TEST_PHOTOS = "photos of a test part, left out"
TWICE = "photos that are listed a second time, the first counts"
UNLISTED = "photos that are not listed, left out"

_PART = re.compile(r"(?<![^\W\d_])(train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?)(?![^\W\d_])", re.IGNORECASE)
_PARTS = {"trai": TRAIN, "val": VALIDATION, "vali": VALIDATION, "test": TEST}


def part_of(path: PurePath) -> str:
    """Return TRAIN, VALIDATION or TEST by the words in a relative path (train2017, valid), "" without one.

    What is deeper counts more; a name with words of two parts, such as train_val, counts for neither.
    """
    for name in reversed(path.parts):
        if found := {_PARTS[word[:4].lower()] for word in _PART.findall(name)}:
            return found.pop() if len(found) == 1 else ""
    return ""


Key = TypeVar("Key")
Rank = TypeVar("Rank", int, tuple[int, ...])


class Photos:
    """The photos below a folder at any depth, in order; hidden ones are passed over."""

    def __init__(self, root: Path) -> None:
        files = {path.relative_to(root).as_posix(): path for path in Channel("", root, "").files(pairs.IMAGES)}
        self.root = root
        self.paths = [files[name] for name in pairs.photos(files)]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_name[_folded(path.name)].append(path)

    def match(self, names: Sequence[str], beside: Path, part: str = "") -> list[Path | None]:
        """Return the photo of each name, None for one without.

        A name may have backslashes, and folders of another machine: the photo with its base name counts; of several the
        one whose path shares the most with the name's end, then one of `part`, then the nearest to the folder `beside`.
        Of two different names for one photo the one that shares more with its path has it.
        """
        wanted = [_components(name) for name in names]
        found = [self._nearest(name, beside, part) for name in wanted]
        claims: dict[Path, dict[_Components, int]] = defaultdict(dict)
        for name, nearest in zip(wanted, found, strict=True):
            if nearest is not None:
                claims[nearest.path][name] = nearest.shared
        owners = {path: _only_best(claim) for path, claim in claims.items()}
        return [
            nearest.path if nearest is not None and owners[nearest.path] == name else None
            for name, nearest in zip(wanted, found, strict=True)
        ]

    def _nearest(self, name: "_Components", beside: Path, part: str) -> "_Nearest | None":
        """The photo that a name is of; None without one, or where two are as near."""
        ranks: dict[Path, tuple[int, ...]] = {}
        for path in self._by_name.get(_folded(name[-1]), ()) if name else ():
            place = path.relative_to(self.root)
            shared = _common(name[::-1], place.parts[::-1])
            ranks[path] = (
                shared,
                part_of(place.parent) == part,
                _common(beside.parts, path.parts),
                path.name == name[-1],
            )
        best = _only_best(ranks)
        return None if best is None else _Nearest(best, ranks[best][0])


_Components = tuple[str, ...]


class _Nearest(NamedTuple):
    """A photo, and how many components at the end of its path a name shares."""

    path: Path
    shared: int


def _only_best(ranks: Mapping[Key, Rank]) -> Key | None:
    """The key of the highest rank, None where two have it."""
    highest = max(ranks.values(), default=None)
    best = [key for key, rank in ranks.items() if rank == highest]
    return best[0] if len(best) == 1 else None


def _components(name: str) -> _Components:
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def _folded(name: str) -> str:
    """A name as the file systems of macOS and Windows compare it."""
    return unicodedata.normalize("NFC", name).casefold()


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many components two paths have in common at their beginnings."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if _folded(left) != _folded(right):
            break
        count += 1
    return count
