"""Boxes as users give them: JSON annotation files and RecordIO labels; which image each is of, and what is repaired.

An image's boxes are of its stored pixels, as most labelling tools see them, and are turned with it when EXIF says that
it lies on its side; unless `image_size` fits only the upright image.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.preprocess import Frame
from serve.words import plural
from train.data import pairs, samples
from train.data.channels import Channel, listing
from train.data.samples import DataIssues, Sample, one_based_hint
from train.errors import Refuse, UserError, raise_error
from train.object_detection.boxes import has_area, to_upright
from train.object_detection.hyperparameters import LABEL_HEADER, LABEL_OBJECT, Hyperparameters

FRACTIONS = (1, 1)
"""An Annotation.size that says that the boxes are in fractions of the stored image, as in RecordIO."""

# How far from its picture's corner a box of pixels reaches at least, in pixels, and one of fractions at most.
_FAR = 2
_SIDES = ("left", "top", "width", "height")
# A box that reaches this far beyond its image was rounded, not misplaced.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Annotation:
    """One image's boxes as given: float64 (n, 5) [class, xmin, ymin, xmax, ymax] on a picture of `size`.

    `size` is (width, height), in pixels; None: those of the stored image. `file` is the image's name as the annotation
    gives it, or "". `categories` are class names by class id; they say nothing that is relied upon.
    """

    boxes: NDArray[np.float64]
    size: tuple[float, float] | None = None
    file: str = ""
    categories: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The samples of a channel, whose boxes are still as given: each one's Annotation, by the sample's name."""

    samples: Sequence[Sample[object]]
    annotations: dict[str, Annotation]


# ---- one annotation ---------------------------------------------------------------------------------------------


def parse_json(data: bytes, where: str, hp: Hyperparameters) -> Annotation:
    """Read an annotation file's bytes; `where` names it in messages.

    Raises UserError for what is no such file, a class that is none, and more objects than label_width holds. Boxes
    may be anywhere and of any size: see `repair`.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({str(error)[:120]}): {_WANTED}") from None
    if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
        raise UserError(f"{where} has no list `annotations`: {_WANTED}")
    objects = document["annotations"]
    _check_count(len(objects), where, hp)
    rows = [_row(value, f"{where}, annotation {number}", hp) for number, value in enumerate(objects)]
    return Annotation(
        boxes=np.array(rows, np.float64).reshape(-1, 5),
        size=_size(document.get("image_size"), where),
        file=_text(document.get("file")),
        categories=_categories(document.get("categories")),
    )


_WANTED = (
    "an annotation file is one image's, like "
    '{"file": "a.jpg", "image_size": [{"width": 500, "height": 400, "depth": 3}], '
    '"annotations": [{"class_id": 0, "left": 111, "top": 134, "width": 61, "height": 128}]}'
)


def parse_record(labels: NDArray[np.float32], where: str, hp: Hyperparameters) -> Annotation:
    """Read a detection record's label, float32 (n,): header width, object width, rest of the header, objects.

    An object is class, xmin, ymin, xmax, ymax in fractions, and columns that are ignored. Raises UserError for a
    label that is not built so, a class that is none, and more objects than label_width holds.
    """
    values = [float(value) for value in labels]
    if len(values) < LABEL_HEADER:
        raise UserError(
            f"{where} has {plural(len(values), 'label value')}, which is an image-classification record: a detection "
            "record begins with 2, 5 (widths of its header and of an object); make it with im2rec's --pack-label"
        )
    header, width = values[:2]
    wholes = header.is_integer() and width.is_integer()  # no NaN and no infinity is
    if not (wholes and LABEL_HEADER <= header <= len(values) and width >= LABEL_OBJECT):
        raise UserError(
            f"{where} begins with {header:g}, {width:g}: a detection record begins with the width of its header, "
            f"from {LABEL_HEADER} to its {len(values)} values, and that of an object, {LABEL_OBJECT} or more"
        )
    objects = values[int(header) :]
    if len(objects) % width:
        raise UserError(
            f"{where} has {plural(len(objects), 'value')} after its header of {header:g}, which is not a whole number "
            f"of objects of {width:g} values: correct the line in the .lst file that it was made from"
        )
    _check_count(int(len(objects) // width), where, hp)
    rows = np.array(objects, np.float64).reshape(-1, int(width) if objects else LABEL_OBJECT)[:, :LABEL_OBJECT]
    for number, row in enumerate(rows):
        _class(float(row[0]), f"{where}, object {number}", hp)
    return Annotation(boxes=rows, size=FRACTIONS)


def _check_count(count: int, where: str, hp: Hyperparameters) -> None:
    if count > hp.max_objects():
        raise UserError(
            f"{where} has {count} objects and label_width={hp.label_width} holds {hp.max_objects()}: set label_width "
            f"to at least {LABEL_HEADER + LABEL_OBJECT * count}"
        )


def _row(value: Any, where: str, hp: Hyperparameters) -> list[float]:
    """Return [class, xmin, ymin, xmax, ymax] in pixels of one of `annotations`."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {_told(value)}: {_WANTED}")
    label = _class(_number(value, "class_id", where), where, hp)
    left, top, width, height = (_number(value, key, where) for key in _SIDES)
    return [label, left, top, left + width, top + height]


def _class(value: float, where: str, hp: Hyperparameters) -> float:
    classes = hp.num_classes
    if value.is_integer() and 0 <= value < classes:
        return value
    raise UserError(
        f"{where} has the class {value:g}: classes are whole numbers from 0 to {classes - 1} "
        f"(num_classes={classes}); "
        + (one_based_hint(value, classes).removeprefix("; ") or "number them from 0 without gaps, or set num_classes")
    )


def _number(value: Mapping[str, Any], key: str, where: str) -> float:
    if key not in value:
        raise UserError(f"{where} lacks the key {key!r}: it needs class_id, {', '.join(_SIDES)}")
    number = _real(value[key])
    if number is None:
        raise UserError(f"{where} has {key}={_told(value[key])}: it must be a number")
    return number


def _size(value: Any, where: str) -> tuple[float, float] | None:
    """Return (width, height) of `image_size`, which is a list of one object, or that object; None for nothing."""
    first = value[0] if isinstance(value, list) and value else value
    if not first:
        return None
    sides = first if isinstance(first, dict) else {}
    width, height = _side(sides.get("width")), _side(sides.get("height"))
    if width is None or height is None or not min(width, height) > 0:
        told = _text(json.dumps(value))[:120]
        raise UserError(
            f"{where} has the image_size {told}: width and height must be above 0, in pixels, as in "
            '[{"width": 500, "height": 400, "depth": 3}], or the key be left out'
        )
    return width, height


def _side(value: Any) -> float | None:
    """Return a side of `image_size`, which some tools write as text; None for what is no number."""
    try:
        return float(value) if isinstance(value, str) else _real(value)
    except ValueError:
        return None


def _categories(value: Any) -> dict[int, str]:
    """Return the names that `categories` has in the usual form; what has another is passed over."""
    found: dict[int, str] = {}
    for entry in value if isinstance(value, list) else ():
        label = _real(entry.get("class_id")) if isinstance(entry, dict) else None
        name = _text(entry.get("name")).strip() if isinstance(entry, dict) else ""
        if label is not None and label.is_integer() and name:
            found.setdefault(int(label), name)
    return found


def _real(value: Any) -> float | None:
    """Return a JSON number as float, infinite when it has more digits than a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text(value: Any) -> str:
    """Return a JSON text, without the half characters that JSON can hold and UTF-8 cannot; "" for anything else."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _told(value: Any) -> str:
    """Return a JSON value for a message; of a list or an object only what it is."""
    kinds: dict[type, str] = {list: "a list", dict: "an object"}
    return kinds.get(type(value)) or _text(json.dumps(value))[:60]


# ---- boxes on their image ---------------------------------------------------------------------------------------


def place(annotation: Annotation, frame: Frame) -> NDArray[np.float64] | None:
    """Return the boxes as float64 (n, 5) in fractions of the upright image; None when image_size is of another one."""
    stored = (frame.width, frame.height)
    size, orientation = annotation.size or stored, frame.orientation
    if size not in (FRACTIONS, stored):
        if size != frame.upright:
            return None
        orientation = 1
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is for `repair`
        return to_upright(annotation.boxes / np.array([1, *size, *size], np.float64), orientation)


def repair(boxes: NDArray[np.float64], where: str, issues: DataIssues) -> NDArray[np.float32]:
    """Return the boxes, float64 (n, 5) in fractions, that are on the image: float32 (m, 5), clipped to 0..1.

    Notes in `issues` each one that was dropped or clipped.
    """
    kept = []
    for number, box in enumerate(boxes):
        clipped = np.clip(box[1:], 0, 1)
        if not np.isfinite(box).all():
            kind = "boxes with a side that is NaN or infinite, dropped"
        elif not has_area(box[1:]):
            kind = "boxes without area, dropped"
        elif not has_area(clipped):
            kind = "boxes outside of their image, dropped"
        elif not has_area(clipped.astype(np.float32)):
            kind = "boxes without area, dropped"
        else:
            kind = "boxes partly outside of their image, clipped" if abs(clipped - box[1:]).max() > _ROUNDING else ""
            kept.append([box[0], *clipped])
        if kind:
            issues.add(kind, f"{where} box {number}")
    return np.array(kept, np.float32).reshape(-1, 5)


# ---- a channel of them ------------------------------------------------------------------------------------------


def list_records(path: Path, hp: Hyperparameters, refuse: Refuse = raise_error) -> Listing:
    """List a .rec file of detection records. What cannot be used goes to `refuse` as a UserError naming the record."""
    found: list[Sample[object]] = []
    parsed: dict[str, Annotation] = {}
    for sample in samples.records(path, refuse):
        try:
            parsed[sample.name] = parse_record(sample.label, sample.name, hp)
            found.append(sample)
        except UserError as error:
            refuse(error)
    reach = np.concatenate([_reach(annotation) for annotation in parsed.values()] or [np.zeros(0)])
    if np.sum(reach > _FAR) > len(reach) / 2:
        refuse(
            UserError(
                f"labels of {path.name} are fractions from 0 to 1, and these look like pixels: they go up to "
                f"{reach.max():g}; divide them by the image's width and height, as im2rec takes them from a .lst file"
            )
        )
    return Listing(found, parsed)


def list_files(
    images: Channel, notes: Channel, hp: Hyperparameters, issues: DataIssues, refuse: Refuse = raise_error
) -> Listing:
    """List the images that have an annotation file; notes in `issues` those of either that lack the other.

    An annotation is of the image that its `file` names, relative to the image channel; else of the one with its own
    base name. A file that cannot be used goes to `refuse`, and boxes that look like fractions. Raises UserError when
    the image of a file is not one, two are of the same one, or none has an image.
    """
    paths = notes.files((".json",))
    if not paths:
        raise UserError(
            f"channel {notes.name!r} must hold one .json file for each image of {images.name!r} and holds none: it "
            f"holds {listing(notes.path)}"
        )
    with ThreadPoolExecutor() as pool:  # many small files, perhaps from S3: the waiting is shared
        names = [path.relative_to(notes.path).as_posix() for path in paths]
        read = pool.map(partial(_read, hp=hp), paths, names)
        parsed: dict[str, Annotation] = {}
        for name, annotation in zip(names, read, strict=True):
            if isinstance(annotation, UserError):
                refuse(annotation)
            else:
                parsed[name] = annotation
    _require_pixels(parsed, notes, issues, refuse)
    files = {path.relative_to(images.path).as_posix(): path for path in images.files()}
    told = {name: annotation.file for name, annotation in parsed.items() if annotation.file in files}
    named, alone = pairs.match(parsed, files, "name one in its key `file`, relative to the channel", told)
    for name in alone:
        issues.add("annotation files without an image, left out", name)
    if not named and parsed:
        raise UserError(
            f"no annotation file of {notes.name!r} belongs to an image of {images.name!r}: "
            f"{next(iter(parsed))} needs an image of its base name, or a key `file` that names one relative to the "
            f"channel; {images.name!r} holds {listing(images.path)}"
        )
    for name in files:
        if name not in named and name.lower().endswith(pairs.IMAGE_SUFFIXES):
            issues.add(f"images of {images.name} without an annotation file, left out", name)
    found = {name: parsed[named[name]] for name in sorted(named)}
    return Listing([Sample(name, None, files[name]) for name in found], found)


def _reach(annotation: Annotation) -> NDArray[np.float64]:
    """Return the larger of xmax and ymax, float64 (n,), of the boxes that are finite and have an area."""
    boxes = annotation.boxes[np.isfinite(annotation.boxes).all(axis=1), 1:]
    return boxes[has_area(boxes), 2:].max(axis=1)


def _require_pixels(parsed: Mapping[str, Annotation], notes: Channel, issues: DataIssues, refuse: Refuse) -> None:
    """Call `refuse` when most boxes look like fractions; note in `issues` files where all do."""
    reaches = {name: _reach(annotation) for name, annotation in parsed.items() if annotation.size != FRACTIONS}
    tiny = [name for name, reach in reaches.items() if len(reach) and reach.max() <= _FAR]
    if not tiny:
        return
    every = np.concatenate(list(reaches.values()))
    if np.sum(every <= _FAR) > len(every) / 2:
        corners = next(box[1:] for box in parsed[tiny[0]].boxes if has_area(box[1:]))
        left, top, right, bottom = (f"{side:g}" for side in corners)
        refuse(
            UserError(
                f"boxes of {notes.name!r} are in pixels, and these look like fractions: {tiny[0]} has a box from "
                f"{left}, {top} to {right}, {bottom}; multiply them by the image's width and height"
            )
        )
        return
    for name in tiny:
        issues.add(f"annotation files whose boxes do not reach beyond {_FAR} pixels and may be fractions", name)


def _read(path: Path, name: str, hp: Hyperparameters) -> Annotation | UserError:
    """Return what a file says, or why it cannot be used."""
    try:
        return parse_json(path.read_bytes(), name, hp)
    except UserError as error:
        return error
    except OSError as error:
        return UserError(f"{name} cannot be read ({error}): fix its permissions, or remove it")


def categories(annotations: Iterable[Annotation]) -> list[tuple[int, str]]:
    """Return the categories of all annotations, ids with names, each once and in order."""
    return sorted({each for annotation in annotations for each in annotation.categories.items()})


def class_names(categories: Iterable[tuple[int, str]], classes: int) -> tuple[str, ...] | None:
    """Return the names that categories, ids with names, give to the classes; None unless all agree and none lacks.

    Ids beyond the classes count as disagreement: the list is then of the ids before somebody numbered them again.
    """
    names: dict[int, set[str]] = defaultdict(set)
    for label, name in categories:
        names[label].add(name)
    if set(names) != set(range(classes)) or any(len(found) > 1 for found in names.values()):
        return None
    return tuple(names[label].copy().pop() for label in range(classes))
