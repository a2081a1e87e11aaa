"""PASCAL VOC, as the data sets of the challenge have it and as labelling programs write it.

    JPEGImages/a.jpg, Annotations/a.xml         boxes
    SegmentationClass/a.png                     masks
    ImageSets/Main/train.txt, val.txt           the split; ImageSets/Main/cat_train.txt: classes
    photos/a.jpg, photos/a.xml                  or XML files anywhere; folders train and valid are the split

The folders may be deeper, as in VOCdevkit/VOC2012. EXIF: the size that an XML file gives tells whether its boxes are of
the photo as it is stored or of the upright one; without a size they are of the stored one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from local.datasets.dataset import Annotation, DataSet, Labels, make_entries
from local.datasets.files.pairing import OTHER, Key, Photos, assign_parts, key, kinds, pair
from local.datasets.files.walk import list_files
from local.datasets.layouts.voc import annotation, image_sets
from local.datasets.masks import data_set
from local.datasets.masks.mask import Colour, Mask
from local.datasets.masks.table import Table
from local.datasets.notes import UNLABELLED, UNLISTED, Notes, read_usable
from local.errors import UserError
from serve.words import plural
from train.data import pairs

_LOOKED_AT = 50
"""Of XML files that are something else, this many are looked at to find one of VOC's."""
_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_MASKS = re.compile(r"(^|/)SegmentationClass(PNG)?/")


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` holds PASCAL VOC's files, None if it does not."""
    found = list_files(root)
    annotations = [file for file in found if file.lower().endswith(".xml")]
    if (one := next((file for file in annotations[:_LOOKED_AT] if annotation.begins(root / file)), None)) is not None:
        return f"{one} is an <annotation>"
    folders = {folder for file in found for folder in file.split("/")[:-1]}
    for other in ("SegmentationClass", "ImageSets"):
        if {"JPEGImages", other} <= folders:
            return f"it holds JPEGImages/ and {other}/"
    return None


def overrides_class_folders(root: Path) -> bool:
    """Return whether it has the classes of photos that are in class folders too: lists, or files of most photos."""
    found = list_files(root)
    annotations = sum(file.lower().endswith(".xml") for file in found)
    return any("/ImageSets/" in f"/{file}" for file in found) or 2 * annotations > len(pairs.select_images(found))


def detection(root: Path) -> DataSet[Annotation]:
    """Read the photos that have an XML file. Raises UserError when there is none that can be used."""
    found, notes = list_files(root), Notes()
    photos = Photos(_images(found))
    parts = assign_parts(photos, image_sets.parts(root, found, photos, ("Main", "", "Layout"), notes), notes)
    known = _annotations(root, found, photos, parts, notes)
    names = _names(known)
    if not names:
        raise UserError(f"{root} has no box in its XML files: object detection needs some to learn from")
    boxed = [(root / photo, parts[photo], one, one.classes) for photo, one in known.items()]
    return DataSet(root, make_entries(boxed), names, notes)


def classification(root: Path) -> DataSet[Labels]:
    """Read the classes of photos from the lists ImageSets/Main/CLASS_SET.txt, or else of the boxes in XML files.

    It is multi-label where a photo has several; else a photo without a class is left out.
    Raises UserError when there are fewer than two classes, and as `detection` does.
    """
    found, notes = list_files(root), Notes()
    photos = Photos(_images(found))
    sets, names = image_sets.classes(root, found, photos, notes)
    if sets:
        parts = assign_parts(
            photos, image_sets.divide({name: set(of) for name, of in sets.items()}, "ImageSets/Main"), notes
        )
        listed = sorted({photo for of in sets.values() for photo in of} & set(parts))
        notes[UNLISTED] = sorted(set(parts) - set(listed))
        classes = {photo: set().union(*(of.get(photo, ()) for of in sets.values())) for photo in listed}
    else:
        parts = assign_parts(photos, image_sets.parts(root, found, photos, ("Main", "", "Layout"), notes), notes)
        known = _annotations(root, found, photos, parts, notes)
        names = _names(known)
        classes = {photo: one.classes for photo, one in known.items()}
    if len(names) < 2:
        had = ", ".join(names) or "none"
        raise UserError(f"{root} has {plural(len(names), 'class')} ({had}): a classifier needs two or more")
    multi_label = any(len(of) > 1 for of in classes.values())
    if not multi_label:
        notes[UNLABELLED] = [photo for photo, of in classes.items() if not of]
        classes = {photo: of for photo, of in classes.items() if of}
    labels = [(root / photo, parts[photo], tuple(sorted(of)), of) for photo, of in classes.items()]
    return DataSet(root, make_entries(labels), names, notes, multi_label=multi_label)


def segmentation(root: Path) -> DataSet[Mask]:
    """Read the photos that have a mask in SegmentationClass/. Raises UserError when there is none."""
    found, notes = list_files(root), Notes()
    photos = Photos(_images(found))
    parts = assign_parts(photos, image_sets.parts(root, found, photos, ("Segmentation", "Main", ""), notes), notes)
    masks = [file for file in found if _MASKS.search(file) and file.lower().endswith(pairs.READABLE_SUFFIXES)]
    if not masks:
        raise UserError(
            f"{root} has no masks in SegmentationClass/: `--layout mask-folders` reads those of other folders"
        )
    return data_set.read(root, found, pair(photos, masks, lambda file: [key(file)]), parts, notes, _table())


def _table() -> Table:
    """The numbers of VOC's classes in masks with their colours: bits 0, 1, 2 of a number are the highest of R, G, B.

    Bits 3, 4, 5 are the next ones. 255 is the outline of objects, and what is hard to tell.
    """

    def colour(number: int) -> Colour:
        red, green, blue = (sum((number >> 3 * bit + part & 1) << 7 - bit for bit in range(3)) for part in range(3))
        return red, green, blue

    names = ("background", *_CLASSES)
    return Table("VOC's own palette", names, tuple(map(colour, range(len(names)))), ignored=(colour(255),))


def _images(found: Sequence[str]) -> list[str]:
    """The files that may be photos."""
    return [file for file in found if not _MASKS.search(file) and OTHER not in kinds(file)]


def _names(known: Mapping[str, Annotation]) -> tuple[str, ...]:
    return tuple(sorted({name for one in known.values() for name in one.classes}))


def _annotations(
    root: Path, found: Sequence[str], photos: Photos, parts: Mapping[str, str], notes: Notes
) -> dict[str, Annotation]:
    """What the XML files say of the photos of `parts`, by photo; in `notes` what cannot be used.

    Raises UserError when most of the XML files cannot.
    """

    def keys(file: str) -> Iterator[Key]:
        # The name that is in the file may be the one that the photo once had: the file's own comes first.
        yield key(file)
        with suppress(UserError):  # it is read again, and noted, below
            yield key(file, pairs.base_name(annotation.photo(root / file, file)))

    paired = pair(photos, [file for file in found if file.lower().endswith(".xml")], keys)
    paired.note("XML file", parts, notes)
    with_file = {photo: file for photo, file in paired.found.items() if photo in parts}

    def read(photo: str) -> Annotation:
        return annotation.read(root / with_file[photo], with_file[photo])

    known = dict(read_usable(with_file, read, root, notes, "XML file"))
    if not known:
        raise UserError(f"{root} has no XML file of any photo: PASCAL VOC has Annotations/a.xml for JPEGImages/a.jpg")
    return known
