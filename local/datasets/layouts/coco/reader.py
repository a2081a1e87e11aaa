"""COCO's JSON: a file with the boxes and outlines of many images, beside the images.

    annotations/instances_train2017.json, train2017/1.jpg, annotations/instances_val2017.json, val2017/2.jpg
    train/_annotations.coco.json, train/1.jpg, valid/_annotations.coco.json, valid/2.jpg     Roboflow
    annotations/instances_default.json, images/1.jpg                                         CVAT
    result.json, images/1.jpg                                                                Label Studio and others

A photo is of the part that its JSON file's name and folders say, else of the one that its own folders say. Boxes and
outlines are in pixels; the width and height beside them say whether of the photo as it is stored or the upright one.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from local.datasets.dataset import UNKNOWN, UNUSABLE, Annotation, DataSet, LabelledBox, Target, make_entries
from local.datasets.files import parts, path_suffixes, texts, values, walk
from local.datasets.layouts.coco import instances, outlines
from local.datasets.layouts.coco.instances import Object, Picture
from local.datasets.masks.mask import Mask
from local.datasets.notes import MISSING, SEVERAL, TEST_PHOTOS, TWICE, UNLISTED, UNUSED_CLASSES, Notes, read_usable
from local.errors import UserError
from serve.words import plural
from train.data.parts import TEST

BACKGROUND = "background"
# Which list comes first differs, and a list may be longer than what is looked at.
_SIGNS = ((b'"images"', b'"file_name"'), (b'"image_id"', b'"category_id"'), (b'"categories"', b'"supercategory"'))
_OTHER_KINDS = re.compile(r"^(captions|person_keypoints|panoptic|stuff|image_info)_")
_MOST_CLASSES = 254  # 0 is the background, 255 ignored

OTHERS = "files of captions, keypoints, panoptic or stuff, left out"
STRAYS = "annotations of images that their file does not list, left out"
CROWDS = "boxes of crowds, left out"
BOXES_ONLY = "objects with a box and no outline, their boxes ignored"


@dataclass(frozen=True)
class _Photo:
    path: Path
    part: str
    picture: Picture


@dataclass(frozen=True)
class _Found:
    """The photos of all files, the categories in the order of their ids, what was left out, and a file for messages."""

    photos: list[_Photo]
    categories: list[str]
    notes: Notes
    file: str


def recognise(root: Path) -> str | None:
    """Return which file shows that `root` holds COCO's JSON, None without one."""
    found = next(_files(root), None)
    return f"{found.relative_to(root).as_posix()} lists images and annotations" if found else None


def detection(root: Path) -> DataSet[Annotation]:
    """Read the boxes of all files; a photo without one is background. Raises UserError naming file, key and fix."""

    def known(photo: _Photo) -> Annotation:
        boxed = [one for one in photo.picture.objects if not one.crowd]
        size = photo.picture.size or UNKNOWN
        return Annotation(photo.picture.source, tuple(LabelledBox(one.category, one.edges()) for one in boxed), size)

    found = _find(root)
    found.notes[CROWDS] = [_named(photo, one) for photo in found.photos for one in photo.picture.objects if one.crowd]
    return _data_set(root, found, known, lambda one: not one.crowd)


def segmentation(root: Path) -> DataSet[Mask]:
    """Read the outlines of all files: label 0 is the background. Raises UserError naming file, key and fix."""
    labels: dict[str, int] = {}

    def known(photo: _Photo) -> Mask:
        return Mask(photo.picture.source, partial(outlines.paint, photo.picture, photo.path, labels))

    found = _find(root)
    objects = [(photo, one) for photo in found.photos for one in photo.picture.objects if not one.crowd]
    found.notes[BOXES_ONLY] = [_named(photo, one) for photo, one in objects if not outlines.has_shape(one)]
    if objects and len(found.notes[BOXES_ONLY]) == len(objects):
        raise UserError(
            f"{found.file} has boxes and no outlines, its segmentation is empty: semantic segmentation needs polygons "
            "or run lengths; object detection takes the boxes"
        )
    data = _data_set(root, found, known, lambda one: not one.crowd and outlines.has_shape(one), (BACKGROUND,))
    if len(data.class_names) > _MOST_CLASSES + 1:
        raise UserError(f"{root} has {len(data.class_names) - 1} categories: a mask has numbers for {_MOST_CLASSES}")
    labels.update((name, label) for label, name in enumerate(data.class_names))
    return data


def _data_set(
    root: Path,
    found: _Found,
    known: Callable[[_Photo], Target],
    counts: Callable[[Object], bool],
    before: tuple[str, ...] = (),
) -> DataSet[Target]:
    """The data set of what is `known` of each photo; its classes are those of objects that count, after `before`."""
    _require_pixels(found)

    def read(photo: _Photo) -> Target:
        if photo.picture.problem:
            raise UserError(photo.picture.problem)
        return known(photo)

    read_photos = read_usable(found.photos, read, root, found.notes)
    classes = [{one.category for one in photo.picture.objects if counts(one)} for photo, _ in read_photos]
    used = set().union(*classes)
    if not used:
        raise UserError(f"{found.file} has no object on any of {plural(len(read_photos), 'photo')}: annotate some")
    photos = [(photo.path, photo.part, one, of) for (photo, one), of in zip(read_photos, classes, strict=True)]
    found.notes[UNUSED_CLASSES] = [name for name in found.categories if name not in used]
    names = dict.fromkeys([*before, *(name for name in found.categories if name in used)])
    return DataSet(root, make_entries(photos), tuple(names), found.notes)


def _require_pixels(found: _Found) -> None:
    """Raise UserError when all boxes are fractions of their photo."""
    boxes = [one.bbox for photo in found.photos for one in photo.picture.objects if isinstance(one.bbox, list)]
    numbers = [abs(number) for box in boxes for number in box if values.is_pixels(number)]
    if 0 < max(numbers, default=0) <= 1:
        raise UserError(
            f"{found.file} has boxes of fractions, no number of them is above 1: COCO's are in pixels; multiply them "
            "by the width and height of their images"
        )


def _find(root: Path) -> _Found:
    """Read all files and find the photos that they list. Raises UserError where there is none, naming the file."""
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
    unclear: list[str] = []
    categories: list[str] = []
    for file in chosen:
        place = file.relative_to(root)
        document = instances.parse(texts.read_bytes(file, place.as_posix()), place.as_posix())
        categories += document.categories
        notes[STRAYS] += document.strays
        part = parts.of_path(place.with_suffix(""))
        names = [picture.file_name for picture in document.pictures]
        for picture, one in zip(document.pictures, photos.find(names, file.parent, [part] * len(names)), strict=True):
            path = one.path
            if path is None:
                notes[UNUSABLE if picture.problem else one.why].append(picture.problem or picture.source)
                if one.why == SEVERAL and not picture.problem:
                    unclear.append(f"{picture.source}: {one.words}: write the folder into file_name, as in cat/1.jpg")
            elif path in found:
                notes[TWICE].append(picture.source)
            else:
                found[path] = _Photo(path, part or parts.of_path(path.relative_to(root).parent), picture)
    if unclear and len(unclear) > len(found) + len(notes[MISSING]):
        raise UserError(f"{unclear[0]} ({plural(len(unclear), 'photo')} below {root} cannot be told apart)")
    if not found:
        listed = [*notes[UNUSABLE], *notes[MISSING], *notes[SEVERAL], f"{chosen[0]} lists no image"][0]
        raise UserError(f"{listed}: none of the photos that are listed is below {root}, put them there")
    notes[TEST_PHOTOS] = [path.relative_to(root).as_posix() for path, photo in found.items() if photo.part == TEST]
    notes[UNLISTED] = [name for name in photos.names if root / name not in found]
    kept = [photo for photo in found.values() if photo.part != TEST]
    return _Found(kept, list(dict.fromkeys(categories)), notes, chosen[0].relative_to(root).as_posix())


def _files(root: Path) -> Iterator[Path]:
    """The files below `root` that begin as COCO's do."""
    for name in walk.list_files(root, (".json",)):
        begin = texts.first_bytes(root / name)
        is_object = begin.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
        if is_object and any(all(sign in begin for sign in signs) for signs in _SIGNS):
            yield root / name


def _named(photo: _Photo, one: Object) -> str:
    return f"{one.category} on {photo.path.name}"
