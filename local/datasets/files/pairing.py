"""Photos and the files that are about them: of one base name, in one folder or in folders that correspond.

    a.jpg, a.xml                          in one folder
    images/a.jpg, masks/a.png             in folders that are called by what they hold
    train/images/a.jpg, train/masks/a.png, or images/train/a.jpg and masks/train/a.png
    train/a.jpg, train_labels/a.png

Paths are texts, relative to the folder of the data set, with `/` between their parts.
"""

import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from local.datasets.notes import TEST_PHOTOS, Notes, without_file, without_photo
from train.data import pairs
from train.data.parts import TEST, WORDS

PHOTOS, ANNOTATIONS, MASKS, OTHER = "photos", "annotations", "masks", "other"
DUPLICATES = "photos of a base name that another one has, left out"
_KINDS = {
    **dict.fromkeys(("image", "images", "img", "imgs", "jpegimages", "photo", "photos"), PHOTOS),
    **dict.fromkeys(("annotation", "annotations", "annot", "annots", "ann", "anns", "xml", "xmls"), ANNOTATIONS),
    **dict.fromkeys(("label", "labels"), ANNOTATIONS),
    **dict.fromkeys(("mask", "masks", "gt", "groundtruth", "ground_truth", "seg", "segmentation"), MASKS),
    **dict.fromkeys(("segmentations", "segmentationclass", "segmentationclasspng"), MASKS),
    **dict.fromkeys((f"segmentation{of}" for of in ("object", "objectpng", "objectnpy", "classnpy")), OTHER),
    **dict.fromkeys((f"segmentation{of}visualization" for of in ("class", "object")), OTHER),
}
# A longer name first: `training`, not `train` and a kind `ing`.
_PART, _KIND = ("|".join(sorted(words, key=len, reverse=True)) for words in (WORDS, _KINDS))
_FOLDER = re.compile(f"(?:({_PART})[ _-]?)?({_KIND})?|({_KIND})[ _-]?({_PART})")


class Key(NamedTuple):
    """What two files that belong together have in common: the part, the folders but for their kinds, the base name."""

    part: str
    folders: tuple[str, ...]
    base: str


def key(path: str, base: str | None = None) -> Key:
    """The key of a file, or of one called `base` beside it.

    macOS writes ä as two characters where others write one: in a key it is one.
    """
    *folders, name = path.split("/")
    named = [(folder, *_words(folder)) for folder in folders]
    plain = tuple(folder for folder, part, kind in named if not part and not kind)
    part = next((part for _, part, _ in named if part), "")
    return Key(part, plain, unicodedata.normalize("NFC", pairs.base_name(name) if base is None else base))


def kinds(path: str) -> set[str]:
    """What the folders of a file hold by their names: any of PHOTOS, ANNOTATIONS (of any form), MASKS, OTHER."""
    return {kind for folder in path.split("/")[:-1] if (kind := _words(folder)[1])}


class Photos:
    """The photos of a data set by their keys; of two with one key, one that can be read and is not in a mask folder.

    `duplicates` are the others, but for masks.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._at: dict[Key, str] = {}
        self._named: dict[str, list[str]] = defaultdict(list)
        self.duplicates: list[str] = []
        masks = {path for path in paths if MASKS in kinds(path)}
        for path in pairs.select_images(sorted(paths, key=lambda path: (path in masks, path))):
            at = key(path)
            if self._at.setdefault(at, path) == path:
                self._named[at.base].append(path)
            elif path not in masks:
                self.duplicates.append(path)

    @property
    def paths(self) -> list[str]:
        """The photos, in order."""
        return sorted(self._at.values())

    def with_key(self, at: Key) -> str | None:
        """The photo of this key."""
        return self._at.get(at)

    def with_base_name(self, at: Key) -> str | None:
        """The photo of this key's base name, wherever it is, if there is just one."""
        named = self._named.get(at.base, [])
        return named[0] if len(named) == 1 else None

    def find(self, at: Key) -> str | None:
        """The photo of this key, or else the only one of its base name."""
        return self.with_key(at) or self.with_base_name(at)


class Pairs(NamedTuple):
    """The file of each photo that has one, in the order of the photos, and the files that were left over."""

    found: dict[str, str]
    unmatched: list[str]
    extra: list[str]
    """Files whose photo has another one."""

    def note(self, what: str, photos: Iterable[str], notes: Notes) -> None:
        """Name in `notes` the files that are left over, each a `what` in words, and those of `photos` without one."""
        notes[without_photo(what)] = self.unmatched
        notes[f"{what}s whose photo has another one, left out"] = self.extra
        notes[without_file(what)] = [photo for photo in photos if photo not in self.found]


def pair(photos: Photos, others: Sequence[str], keys: Callable[[str], Iterable[Key]]) -> Pairs:
    """Find the photo of each of `others`, by the first of its `keys` that a photo has; where none has, by base name.

    What is in the folder of its photo, or in one that corresponds, comes before what has only the name.
    """
    found: dict[str, str] = {}
    unmatched: list[str] = []
    extra: list[str] = []
    rest: list[str] = []
    for file in others:
        photo = next(filter(None, map(photos.with_key, keys(file))), None)
        if photo is None:
            rest.append(file)
        elif found.setdefault(photo, file) != file:
            extra.append(file)
    for file in rest:
        photo = next(filter(None, map(photos.with_base_name, keys(file))), None)
        if photo is None or photo in found:
            unmatched.append(file)
        else:
            found[photo] = file
    return Pairs(dict(sorted(found.items())), unmatched, extra)


def assign_parts(photos: Photos, parts: Mapping[str, str], notes: Notes) -> dict[str, str]:
    """Return the part of each photo to use, "" for none; note test photos and duplicates, which are left out.

    `parts` comes from the lists of the data set. If it is empty, the names of the folders decide.
    """
    found = {path: parts.get(path, "") if parts else key(path).part for path in photos.paths}
    notes[DUPLICATES] = photos.duplicates
    notes[TEST_PHOTOS] = [path for path, part in found.items() if part == TEST]
    return {path: part for path, part in found.items() if part != TEST}


@functools.cache
def _words(folder: str) -> tuple[str, str]:
    """The part and the kind that a folder's name tells, "" for what it does not."""
    match = _FOLDER.fullmatch(folder.lower())
    if match is None:
        return "", ""
    return WORDS.get(match[1] or match[4] or "", ""), _KINDS.get(match[2] or match[3] or "", "")
