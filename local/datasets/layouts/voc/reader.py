"""PASCAL VOC: the data sets of the challenge and exports of labelling tools.

    JPEGImages/a.jpg, Annotations/a.xml         boxes
    SegmentationClass/a.png                     masks
    ImageSets/Main/train.txt, val.txt           the split; ImageSets/Main/cat_train.txt: classes
    photos/a.jpg, photos/a.xml                  or XML files anywhere; folders train and valid are the split

The folders may be deeper, as in VOCdevkit/VOC2012. EXIF: the size in an XML file shows whether its boxes refer to the
stored or the upright photo. Without a size, they refer to the stored photo.
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

_MAX_XML_FILES = 50
"""How many XML files are opened to find an annotation."""
_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_MASKS = re.compile(r"(^|/)SegmentationClass(PNG)?/")


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` holds PASCAL VOC files, or None."""
    files = list_files(root)
    annotations = [file for file in files if file.lower().endswith(".xml")]
    valid = (file for file in annotations[:_MAX_XML_FILES] if annotation.is_annotation(root / file))
    if first := next(valid, None):
        return f"{first} is an <annotation>"
    folders = {folder for file in files for folder in file.split("/")[:-1]}
    for other in ("SegmentationClass", "ImageSets"):
        if {"JPEGImages", other} <= folders:
            return f"it has JPEGImages/ and {other}/"
    return None


def overrides_class_folders(root: Path) -> bool:
    """Return whether the data set has class lists, or XML files for most photos."""
    files = list_files(root)
    annotations = sum(file.lower().endswith(".xml") for file in files)
    return any("/ImageSets/" in f"/{file}" for file in files) or 2 * annotations > len(pairs.select_images(files))


def detection(root: Path) -> DataSet[Annotation]:
    """Read the photos that have an XML file. Raise UserError if none is usable."""
    files, notes = list_files(root), Notes()
    photos = Photos(_images(files))
    parts = assign_parts(photos, image_sets.parts(root, files, photos, ("Main", "", "Layout"), notes), notes)
    annotations = _annotations(root, files, photos, parts, notes)
    names = _names(annotations)
    if not names:
        raise UserError(f"{root} has no box in its XML files: annotate some objects")
    boxed = [(root / photo, parts[photo], target, target.classes) for photo, target in annotations.items()]
    return DataSet(root, make_entries(boxed), names, notes)


def classification(root: Path) -> DataSet[Labels]:
    """Read the classes of photos from the lists ImageSets/Main/CLASS_SET.txt, else from the boxes in XML files.

    The data set is multi-label if any photo has several classes. If it is not, photos without a class are left out.
    Raise UserError if there are fewer than two classes, and as `detection` does.
    """
    files, notes = list_files(root), Notes()
    photos = Photos(_images(files))
    sets, names = image_sets.classes(root, files, photos, notes)
    if sets:
        parts = assign_parts(
            photos,
            image_sets.parts_of_sets({name: set(members) for name, members in sets.items()}, "ImageSets/Main"),
            notes,
        )
        listed = sorted({photo for members in sets.values() for photo in members} & set(parts))
        notes[UNLISTED] = sorted(set(parts) - set(listed))
        classes = {photo: set().union(*(members.get(photo, ()) for members in sets.values())) for photo in listed}
    else:
        parts = assign_parts(photos, image_sets.parts(root, files, photos, ("Main", "", "Layout"), notes), notes)
        annotations = _annotations(root, files, photos, parts, notes)
        names = _names(annotations)
        classes = {photo: target.classes for photo, target in annotations.items()}
    if len(names) < 2:
        listed_names = ", ".join(names) or "none"
        raise UserError(
            f"{root} has {plural(len(names), 'class')} ({listed_names}), and a classifier needs at least two: add "
            "photos of another class"
        )
    multi_label = any(len(present) > 1 for present in classes.values())
    if not multi_label:
        notes[UNLABELLED] = [photo for photo, present in classes.items() if not present]
        classes = {photo: present for photo, present in classes.items() if present}
    labels = [(root / photo, parts[photo], tuple(sorted(present)), present) for photo, present in classes.items()]
    return DataSet(root, make_entries(labels), names, notes, multi_label=multi_label)


def segmentation(root: Path) -> DataSet[Mask]:
    """Read the photos that have a mask in SegmentationClass/. Raise UserError if there is none."""
    files, notes = list_files(root), Notes()
    photos = Photos(_images(files))
    parts = assign_parts(photos, image_sets.parts(root, files, photos, ("Segmentation", "Main", ""), notes), notes)
    masks = [file for file in files if _MASKS.search(file) and file.lower().endswith(pairs.READABLE_SUFFIXES)]
    if not masks:
        raise UserError(
            f"{root} has no masks in SegmentationClass/: use `--layout mask-folders` for masks in other folders"
        )
    return data_set.read(root, files, pair(photos, masks, lambda file: [key(file)]), parts, notes, _table())


def _table() -> Table:
    """Return the numbers of VOC's classes in masks with their colours.

    Bits 0, 1, 2 of a number are the highest bits of R, G, B; bits 3, 4, 5 are the next ones. 255 marks the outlines of
    objects and ambiguous pixels.
    """

    def colour(number: int) -> Colour:
        red, green, blue = (sum((number >> 3 * bit + part & 1) << 7 - bit for bit in range(3)) for part in range(3))
        return red, green, blue

    names = ("background", *_CLASSES)
    return Table("VOC's own palette", names, tuple(map(colour, range(len(names)))), ignored=(colour(255),))


def _images(files: Sequence[str]) -> list[str]:
    """Return the files that may be photos."""
    return [file for file in files if not _MASKS.search(file) and OTHER not in kinds(file)]


def _names(annotations: Mapping[str, Annotation]) -> tuple[str, ...]:
    return tuple(sorted({name for target in annotations.values() for name in target.classes}))


def _annotations(
    root: Path, files: Sequence[str], photos: Photos, parts: Mapping[str, str], notes: Notes
) -> dict[str, Annotation]:
    """Read the XML files of the photos in `parts`. Note photos and files that cannot be used.

    Raise UserError if most of the XML files cannot be used.
    """

    def keys(file: str) -> Iterator[Key]:
        # The photo may have been renamed since the file was written, so the file's own name comes first.
        yield key(file)
        with suppress(UserError):  # errors are noted when the file is read again below
            yield key(file, pairs.base_name(annotation.photo_name(root / file, file)))

    paired = pair(photos, [file for file in files if file.lower().endswith(".xml")], keys)
    paired.note("XML file", parts, notes)
    with_file = {photo: file for photo, file in paired.files.items() if photo in parts}

    def read(photo: str) -> Annotation:
        return annotation.read(root / with_file[photo], with_file[photo])

    annotations = dict(read_usable(with_file, read, root, notes, "XML file"))
    if not annotations:
        raise UserError(f"{root} has no XML file for any photo: PASCAL VOC has Annotations/a.xml for JPEGImages/a.jpg")
    return annotations
