"""COCO's JSON: files with the boxes and outlines of many images, next to the images.

    annotations/instances_train2017.json, train2017/1.jpg, annotations/instances_val2017.json, val2017/2.jpg
    train/_annotations.coco.json, train/1.jpg, valid/_annotations.coco.json, valid/2.jpg     Roboflow
    annotations/instances_default.json, images/1.jpg                                         CVAT
    result.json, images/1.jpg                                                                Label Studio and others

The part of a photo is in the name or folders of its JSON file, else in its own folders. Boxes and outlines are in
pixels. The image's width and height show whether they refer to the stored or to the upright photo.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from local.datasets.dataset import UNKNOWN, UNUSABLE, Annotation, DataSet, LabelledBox, Target, make_entries
from local.datasets.files import parts, path_suffixes, texts, values, walk
from local.datasets.layouts.coco import instances, outlines
from local.datasets.layouts.coco.instances import ImageRecord, Object
from local.datasets.masks.mask import Mask
from local.datasets.notes import MISSING, SEVERAL, TEST_PHOTOS, TWICE, UNLISTED, UNUSED_CLASSES, Notes, read_usable
from local.errors import UserError
from serve.words import plural
from train.data.parts import TEST

BACKGROUND = "background"
# Keys to look for at the start of a file. The lists may be in any order, and the first may extend beyond the start.
_SIGNS = ((b'"images"', b'"file_name"'), (b'"image_id"', b'"category_id"'), (b'"categories"', b'"supercategory"'))
_OTHER_KINDS = re.compile(r"^(captions|person_keypoints|panoptic|stuff|image_info)_")
_MAX_CLASSES = 254  # 0 is the background, 255 is ignored

OTHERS = "files of captions, keypoints, panoptic or stuff, left out"
STRAYS = "annotations of images that their file does not list, left out"
CROWDS = "boxes of crowds, left out"
BOXES_ONLY = "objects with a box but no outline, whose pixels are ignored"


@dataclass(frozen=True)
class _Photo:
    path: Path
    part: str
    record: ImageRecord


@dataclass(frozen=True)
class _Contents:
    """The photos of all files, the categories ordered by id, notes for the data set, and a file name for messages."""

    photos: list[_Photo]
    categories: list[str]
    notes: Notes
    file: str


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` holds COCO's JSON, or None."""
    first = next(_files(root), None)
    return f"{first.relative_to(root).as_posix()} lists images and annotations" if first else None


def detection(root: Path) -> DataSet[Annotation]:
    """Read the boxes of all files. A photo without boxes is background. Raise UserError naming file, key and fix."""

    def read(photo: _Photo) -> Annotation:
        boxes = tuple(LabelledBox(item.category, item.edges()) for item in photo.record.objects if not item.crowd)
        return Annotation(photo.record.source, boxes, photo.record.size or UNKNOWN)

    contents = _read_files(root)
    contents.notes[CROWDS] = [_describe(photo, item) for photo, item in _objects(contents) if item.crowd]
    return _data_set(root, contents, read, lambda item: not item.crowd)


def segmentation(root: Path) -> DataSet[Mask]:
    """Read the outlines of all files. Label 0 is the background. Raise UserError naming file, key and fix."""
    labels: dict[str, int] = {}

    def read(photo: _Photo) -> Mask:
        return Mask(photo.record.source, partial(outlines.paint, photo.record, photo.path, labels))

    contents = _read_files(root)
    objects = [(photo, item) for photo, item in _objects(contents) if not item.crowd]
    contents.notes[BOXES_ONLY] = [_describe(photo, item) for photo, item in objects if not outlines.has_shape(item)]
    if objects and len(contents.notes[BOXES_ONLY]) == len(objects):
        raise UserError(
            f"{contents.file} has boxes but no outlines, because all segmentations are empty: semantic segmentation "
            "needs polygons or run lengths; use object detection for boxes"
        )
    data = _data_set(root, contents, read, lambda item: not item.crowd and outlines.has_shape(item), (BACKGROUND,))
    if len(data.class_names) > _MAX_CLASSES + 1:
        raise UserError(f"{root} has {len(data.class_names) - 1} categories: a mask can hold at most {_MAX_CLASSES}")
    labels.update((name, label) for label, name in enumerate(data.class_names))
    return data


def _objects(contents: _Contents) -> list[tuple[_Photo, Object]]:
    return [(photo, item) for photo in contents.photos for item in photo.record.objects]


def _data_set(
    root: Path,
    contents: _Contents,
    read: Callable[[_Photo], Target],
    counts: Callable[[Object], bool],
    first_classes: tuple[str, ...] = (),
) -> DataSet[Target]:
    """Read the targets of photos. The classes are `first_classes` and the categories of objects that pass `counts`."""
    _require_pixels(contents)

    def read_target(photo: _Photo) -> Target:
        if photo.record.problem:
            raise UserError(photo.record.problem)
        return read(photo)

    targets = read_usable(contents.photos, read_target, root, contents.notes)
    classes = [{item.category for item in photo.record.objects if counts(item)} for photo, _ in targets]
    used = set().union(*classes)
    if not used:
        raise UserError(f"{contents.file} has no objects in {plural(len(targets), 'photo')}: annotate some")
    photos = [(photo.path, photo.part, target, names) for (photo, target), names in zip(targets, classes, strict=True)]
    contents.notes[UNUSED_CLASSES] = [name for name in contents.categories if name not in used]
    names = dict.fromkeys([*first_classes, *(name for name in contents.categories if name in used)])
    return DataSet(root, make_entries(photos), tuple(names), contents.notes)


def _require_pixels(contents: _Contents) -> None:
    """Raise UserError if all boxes are fractions of their photo."""
    boxes = [item.bbox for _, item in _objects(contents) if isinstance(item.bbox, list)]
    numbers = [abs(number) for box in boxes for number in box if values.is_pixels(number)]
    if 0 < max(numbers, default=0) <= 1:
        raise UserError(
            f"{contents.file} has boxes in fractions, with no number above 1, but COCO's boxes are in pixels: multiply "
            "them by the width and height of their images"
        )


def _read_files(root: Path) -> _Contents:
    """Read all files and find the photos that they list. Raise UserError naming the file if none is found."""
    files = list(_files(root))
    others = [path for path in files if _OTHER_KINDS.match(path.name)]
    if len(others) == len(files):
        others = []
    chosen = sorted({*files}.difference(others))
    if not chosen:
        raise UserError(f"{root} has no COCO file: a .json file with the lists images, annotations and categories")
    photos = path_suffixes.photos(root)
    notes: Notes = {OTHERS: [path.name for path in others]}
    notes |= {reason: [] for reason in (UNUSABLE, MISSING, SEVERAL, TWICE, TEST_PHOTOS, STRAYS, UNLISTED)}
    found: dict[Path, _Photo] = {}
    ambiguous: list[str] = []
    categories: list[str] = []
    for file in chosen:
        name = file.relative_to(root)
        document = instances.parse(texts.read_bytes(file, name.as_posix()), name.as_posix())
        categories += document.categories
        notes[STRAYS] += document.strays
        part = parts.of_path(name.with_suffix(""))
        paths = [record.file_name for record in document.images]
        for record, match in zip(document.images, photos.find(paths, file.parent, [part] * len(paths)), strict=True):
            path = match.path
            if path is None:
                notes[UNUSABLE if record.problem else match.reason].append(record.problem or record.source)
                if match.reason == SEVERAL and not record.problem:
                    ambiguous.append(
                        f"{record.source}: {match.description}: add the folder to file_name, as in cat/1.jpg"
                    )
            elif path in found:
                notes[TWICE].append(record.source)
            else:
                found[path] = _Photo(path, part or parts.of_path(path.relative_to(root).parent), record)
    if ambiguous and len(ambiguous) > len(found) + len(notes[MISSING]):
        raise UserError(f"{ambiguous[0]} ({plural(len(ambiguous), 'ambiguous name')} in {root})")
    if not found:
        problem = [*notes[UNUSABLE], *notes[MISSING], *notes[SEVERAL], f"{chosen[0]} lists no image"][0]
        raise UserError(f"{problem}: none of the listed photos is below {root}; put them there")
    notes[TEST_PHOTOS] = [path.relative_to(root).as_posix() for path, photo in found.items() if photo.part == TEST]
    notes[UNLISTED] = [name for name in photos.names if root / name not in found]
    kept = [photo for photo in found.values() if photo.part != TEST]
    return _Contents(kept, list(dict.fromkeys(categories)), notes, chosen[0].relative_to(root).as_posix())


def _files(root: Path) -> Iterator[Path]:
    """Yield the files below `root` that start like COCO's JSON."""
    for name in walk.list_files(root, (".json",)):
        start = texts.first_bytes(root / name)
        is_object = start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
        if is_object and any(all(sign in start for sign in signs) for signs in _SIGNS):
            yield root / name


def _describe(photo: _Photo, item: Object) -> str:
    return f"{item.category} in {photo.path.name}"
