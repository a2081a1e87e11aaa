"""Pair photos with annotation files that have the same base name, in the same folder or in corresponding folders.

    a.jpg, a.xml                          in one folder
    images/a.jpg, masks/a.png             in folders named after their content
    train/images/a.jpg, train/masks/a.png, or images/train/a.jpg and masks/train/a.png
    train/a.jpg, train_labels/a.png

Paths are strings relative to the folder of the data set, with `/` as the separator.
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
DUPLICATES = "photos with the base name of another photo, left out"
_KINDS = {
    **dict.fromkeys(("image", "images", "img", "imgs", "jpegimages", "photo", "photos"), PHOTOS),
    **dict.fromkeys(("annotation", "annotations", "annot", "annots", "ann", "anns", "xml", "xmls"), ANNOTATIONS),
    **dict.fromkeys(("label", "labels"), ANNOTATIONS),
    **dict.fromkeys(("mask", "masks", "gt", "groundtruth", "ground_truth", "seg", "segmentation"), MASKS),
    **dict.fromkeys(("segmentations", "segmentationclass", "segmentationclasspng"), MASKS),
    **dict.fromkeys((f"segmentation{kind}" for kind in ("object", "objectpng", "objectnpy", "classnpy")), OTHER),
    **dict.fromkeys((f"segmentation{kind}visualization" for kind in ("class", "object")), OTHER),
}
# Longest first, so that `training` is not read as `train` followed by a kind `ing`.
_PART, _KIND = ("|".join(sorted(words, key=len, reverse=True)) for words in (WORDS, _KINDS))
_FOLDER = re.compile(f"(?:({_PART})[ _-]?)?({_KIND})?|({_KIND})[ _-]?({_PART})")


class Key(NamedTuple):
    """What a photo and its annotation file share: the part, the other folders without kinds, and the base name."""

    part: str
    folders: tuple[str, ...]
    base: str


def key(path: str, base: str | None = None) -> Key:
    """Return the key of a file. With `base`, use this base name instead of the file's.

    Names are normalized to NFC, because macOS writes ä as two characters.
    """
    *folders, name = path.split("/")
    named = [(folder, *_words(folder)) for folder in folders]
    plain = tuple(folder for folder, part, kind in named if not part and not kind)
    part = next((part for _, part, _ in named if part), "")
    return Key(part, plain, unicodedata.normalize("NFC", pairs.base_name(name) if base is None else base))


def kinds(path: str) -> set[str]:
    """Return the kinds of content that the folder names of a file denote: PHOTOS, ANNOTATIONS, MASKS or OTHER."""
    return {kind for folder in path.split("/")[:-1] if (kind := _words(folder)[1])}


class Photos:
    """The photos of a data set by key. If two have the same key, prefer one in a readable format outside mask folders.

    `duplicates` are the other photos, except masks.
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
        """The photos in sorted order."""
        return sorted(self._at.values())

    def with_key(self, at: Key) -> str | None:
        """Return the photo with this key."""
        return self._at.get(at)

    def with_base_name(self, at: Key) -> str | None:
        """Return the photo with the key's base name in any folder, if there is exactly one."""
        named = self._named.get(at.base, [])
        return named[0] if len(named) == 1 else None

    def find(self, at: Key) -> str | None:
        """Return the photo with this key, else the only one with its base name."""
        return self.with_key(at) or self.with_base_name(at)


class Pairs(NamedTuple):
    """The annotation file of each photo that has one, in the order of the photos, and the remaining files."""

    files: dict[str, str]
    unmatched: list[str]
    extra: list[str]
    """Files whose photo is already paired with another file."""

    def note(self, what: str, photos: Iterable[str], notes: Notes) -> None:
        """Note the remaining files, and those of `photos` without a file. `what` is the kind of file, such as mask."""
        notes[without_photo(what)] = self.unmatched
        notes[f"{what}s whose photo has another {what}, left out"] = self.extra
        notes[without_file(what)] = [photo for photo in photos if photo not in self.files]


def pair(photos: Photos, others: Sequence[str], keys: Callable[[str], Iterable[Key]]) -> Pairs:
    """Find the photo of each file in `others`: by the first of its `keys` that a photo has, else by base name.

    A match by key, in the same or a corresponding folder, takes precedence over a match by base name.
    """
    files: dict[str, str] = {}
    unmatched: list[str] = []
    extra: list[str] = []
    unpaired: list[str] = []
    for file in others:
        photo = next(filter(None, map(photos.with_key, keys(file))), None)
        if photo is None:
            unpaired.append(file)
        elif files.setdefault(photo, file) != file:
            extra.append(file)
    for file in unpaired:
        photo = next(filter(None, map(photos.with_base_name, keys(file))), None)
        if photo is None or photo in files:
            unmatched.append(file)
        else:
            files[photo] = file
    return Pairs(dict(sorted(files.items())), unmatched, extra)


def assign_parts(photos: Photos, parts: Mapping[str, str], notes: Notes) -> dict[str, str]:
    """Return the part of each photo to use, "" for none; note test photos and duplicates, which are left out.

    `parts` comes from the lists of the data set. If it is empty, the names of the folders decide.
    """
    part_of = {path: parts.get(path, "") if parts else key(path).part for path in photos.paths}
    notes[DUPLICATES] = photos.duplicates
    notes[TEST_PHOTOS] = [path for path, part in part_of.items() if part == TEST]
    return {path: part for path, part in part_of.items() if part != TEST}


@functools.cache
def _words(folder: str) -> tuple[str, str]:
    """Return the part and the kind that a folder's name contains, or "" for each that it does not."""
    match = _FOLDER.fullmatch(folder.lower())
    if match is None:
        return "", ""
    return WORDS.get(match[1] or match[4] or "", ""), _KINDS.get(match[2] or match[3] or "", "")
