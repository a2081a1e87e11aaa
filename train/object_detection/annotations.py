"""Read the boxes of JSON annotation files and RecordIO labels, match them to images, and repair them.

Boxes refer to the stored pixels of an image, as in most labelling tools, and are rotated with it by its EXIF
orientation. The exception is an annotation whose `image_size` fits only the upright image.
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
"""The Annotation.size of boxes in fractions of the stored image, as in RecordIO."""

# A box is in pixels if its right or lower edge exceeds this, and probably in fractions otherwise.
_MAX_FRACTION = 2
_SIDES = ("left", "top", "width", "height")
# A box that exceeds its image by no more than this fraction was rounded, not misplaced.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Annotation:
    """The raw boxes of one image: float64 (n, 5) [class, xmin, ymin, xmax, ymax] on an image of `size`.

    `size` is (width, height) in pixels; None means the size of the stored image. `file` is the image's name in the
    annotation, or "". `categories` maps class ids to names, unchecked.
    """

    boxes: NDArray[np.float64]
    size: tuple[float, float] | None = None
    file: str = ""
    categories: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The samples of a channel and their annotations, by sample name."""

    samples: Sequence[Sample[object]]
    annotations: dict[str, Annotation]


# ---- one annotation ---------------------------------------------------------------------------------------------


def parse_json(data: bytes, where: str, hp: Hyperparameters) -> Annotation:
    """Parse an annotation file. `where` names it in messages.

    Raises UserError for any other format, an invalid class, or more objects than label_width allows. The boxes may be
    outside the image or have any size; see `repair`.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({str(error)[:120]}): {_FORMAT}") from None
    if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
        raise UserError(f"{where} has no list `annotations`: {_FORMAT}")
    objects = document["annotations"]
    _check_count(len(objects), where, hp)
    rows = [_row(value, f"{where}, annotation {number}", hp) for number, value in enumerate(objects)]
    return Annotation(
        boxes=np.array(rows, np.float64).reshape(-1, 5),
        size=_size(document.get("image_size"), where),
        file=_text(document.get("file")),
        categories=_categories(document.get("categories")),
    )


_FORMAT = (
    "an annotation file describes one image, like "
    '{"file": "a.jpg", "image_size": [{"width": 500, "height": 400, "depth": 3}], '
    '"annotations": [{"class_id": 0, "left": 111, "top": 134, "width": 61, "height": 128}]}'
)


def parse_record(labels: NDArray[np.float32], where: str, hp: Hyperparameters) -> Annotation:
    """Parse the label of a detection record, float32 (n,): header width, object width, rest of the header, objects.

    An object is class, xmin, ymin, xmax, ymax in fractions; further columns are ignored. Raises UserError for any
    other format, an invalid class, or more objects than label_width allows.
    """
    values = [float(value) for value in labels]
    if len(values) < LABEL_HEADER:
        raise UserError(
            f"{where} has {plural(len(values), 'label value')}, as in image-classification: a detection record "
            "begins with 2, 5 (the widths of its header and of an object); create it with im2rec's --pack-label"
        )
    header, width = values[:2]
    whole = header.is_integer() and width.is_integer()  # False for NaN and infinity
    if not (whole and LABEL_HEADER <= header <= len(values) and width >= LABEL_OBJECT):
        raise UserError(
            f"{where} begins with {header:g}, {width:g}: a detection record begins with the width of its header, "
            f"{LABEL_HEADER} to {len(values)} values, and the width of an object, at least {LABEL_OBJECT}"
        )
    objects = values[int(header) :]
    if len(objects) % width:
        raise UserError(
            f"{where} has {plural(len(objects), 'value')} after its header of {header:g}, which is not a whole number "
            f"of objects of {width:g} values: correct its line in the .lst file"
        )
    _check_count(int(len(objects) // width), where, hp)
    rows = np.array(objects, np.float64).reshape(-1, int(width) if objects else LABEL_OBJECT)[:, :LABEL_OBJECT]
    for number, row in enumerate(rows):
        _class(float(row[0]), f"{where}, object {number}", hp)
    return Annotation(boxes=rows, size=FRACTIONS)


def _check_count(count: int, where: str, hp: Hyperparameters) -> None:
    if count > hp.max_objects():
        raise UserError(
            f"{where} has {count} objects but label_width={hp.label_width} allows {hp.max_objects()}: set label_width "
            f"to at least {LABEL_HEADER + LABEL_OBJECT * count}"
        )


def _row(value: Any, where: str, hp: Hyperparameters) -> list[float]:
    """Return [class, xmin, ymin, xmax, ymax], in pixels, of one object in `annotations`."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {_describe(value)}: {_FORMAT}")
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
        raise UserError(f"{where} lacks the key {key!r}: it needs class_id, left, top, width and height")
    number = _real(value[key])
    if number is None:
        raise UserError(f"{where} has {key}={_describe(value[key])}: it must be a number")
    return number


def _size(value: Any, where: str) -> tuple[float, float] | None:
    """Return (width, height) from `image_size`, an object or a list of one; None if it is empty or missing."""
    first = value[0] if isinstance(value, list) and value else value
    if not first:
        return None
    sides = first if isinstance(first, dict) else {}
    width, height = _side(sides.get("width")), _side(sides.get("height"))
    if width is None or height is None or not min(width, height) > 0:
        text = _text(json.dumps(value))[:120]
        raise UserError(
            f"{where} has the image_size {text}: width and height must be positive, in pixels, as in "
            '[{"width": 500, "height": 400, "depth": 3}]; fix or remove the key'
        )
    return width, height


def _side(value: Any) -> float | None:
    """Return a side of `image_size`, which some tools write as text; None if it is not a number."""
    try:
        return float(value) if isinstance(value, str) else _real(value)
    except ValueError:
        return None


def _categories(value: Any) -> dict[int, str]:
    """Return the names in `categories` by class id. Entries in another format are ignored."""
    names: dict[int, str] = {}
    for entry in value if isinstance(value, list) else ():
        label = _real(entry.get("class_id")) if isinstance(entry, dict) else None
        name = _text(entry.get("name")).strip() if isinstance(entry, dict) else ""
        if label is not None and label.is_integer() and name:
            names.setdefault(int(label), name)
    return names


def _real(value: Any) -> float | None:
    """Return a JSON number as a float, infinite if it is too large; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text(value: Any) -> str:
    """Return a JSON string, without surrogates, which UTF-8 cannot encode; "" for anything else."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _describe(value: Any) -> str:
    """Return a JSON value for a message, or only its type if it is a list or an object."""
    kinds: dict[type, str] = {list: "a list", dict: "an object"}
    return kinds.get(type(value)) or _text(json.dumps(value))[:60]


# ---- boxes on their image ---------------------------------------------------------------------------------------


def place(annotation: Annotation, frame: Frame) -> NDArray[np.float64] | None:
    """Return boxes as float64 (n, 5) in fractions of the upright image; None if image_size does not fit the image."""
    stored = (frame.width, frame.height)
    size, orientation = annotation.size or stored, frame.orientation
    if size not in (FRACTIONS, stored):
        if size != frame.upright:
            return None
        orientation = 1
    with np.errstate(over="ignore", invalid="ignore"):  # `repair` drops infinite values
        return to_upright(annotation.boxes / np.array([1, *size, *size], np.float64), orientation)


def repair(boxes: NDArray[np.float64], where: str, issues: DataIssues) -> NDArray[np.float32]:
    """Clip boxes, float64 (n, 5) in fractions, to the image, and drop invalid ones; return float32 (m, 5).

    Add each dropped or clipped box to `issues`.
    """
    kept = []
    for number, box in enumerate(boxes):
        clipped = np.clip(box[1:], 0, 1)
        if not np.isfinite(box).all():
            kind = "boxes with a side that is NaN or infinite, dropped"
        elif not has_area(box[1:]):
            kind = "boxes with zero area, dropped"
        elif not has_area(clipped):
            kind = "boxes outside their image, dropped"
        elif not has_area(clipped.astype(np.float32)):
            kind = "boxes with zero area, dropped"
        else:
            kind = "boxes partly outside their image, clipped" if abs(clipped - box[1:]).max() > _ROUNDING else ""
            kept.append([box[0], *clipped])
        if kind:
            issues.add(kind, f"{where} box {number}")
    return np.array(kept, np.float32).reshape(-1, 5)


# ---- all annotations of a channel ---------------------------------------------------------------------------------


def list_records(path: Path, hp: Hyperparameters, refuse: Refuse = raise_error) -> Listing:
    """List the detection records of a .rec file. For an invalid record, `refuse` gets a UserError that names it."""
    listed: list[Sample[object]] = []
    parsed: dict[str, Annotation] = {}
    for sample in samples.records(path, refuse):
        try:
            parsed[sample.name] = parse_record(sample.label, sample.name, hp)
            listed.append(sample)
        except UserError as error:
            refuse(error)
    edges = np.concatenate([_far_edges(annotation) for annotation in parsed.values()] or [np.zeros(0)])
    if np.sum(edges > _MAX_FRACTION) > len(edges) / 2:
        refuse(
            UserError(
                f"labels of {path.name} must be fractions from 0 to 1 but look like pixels: they go up to "
                f"{edges.max():g}; divide them by the image's width and height, as im2rec expects them in a .lst file"
            )
        )
    return Listing(listed, parsed)


def list_files(
    images: Channel, labels: Channel, hp: Hyperparameters, issues: DataIssues, refuse: Refuse = raise_error
) -> Listing:
    """List the images that have an annotation file. Add images and files without a counterpart to `issues`.

    An annotation belongs to the image that its `file` names, relative to the image channel, or else to the image with
    the same base name. Unusable files and boxes that look like fractions go to `refuse`. Raises UserError if a file
    could belong to two images, two files belong to the same image, or no file has an image.
    """
    paths = labels.files((".json",))
    if not paths:
        raise UserError(
            f"channel {labels.name!r} has no .json file but must have one for each image of {images.name!r}: it "
            f"holds {listing(labels.path)}"
        )
    with ThreadPoolExecutor() as pool:  # many small files, perhaps on S3: read them concurrently to hide the latency
        names = [path.relative_to(labels.path).as_posix() for path in paths]
        read = pool.map(partial(_read, hp=hp), paths, names)
        parsed: dict[str, Annotation] = {}
        for name, annotation in zip(names, read, strict=True):
            if isinstance(annotation, UserError):
                refuse(annotation)
            else:
                parsed[name] = annotation
    _require_pixels(parsed, labels, issues, refuse)
    files = {path.relative_to(images.path).as_posix(): path for path in images.files()}
    declared = {name: annotation.file for name, annotation in parsed.items() if annotation.file in files}
    annotation_of, unmatched = pairs.match(
        parsed, files, "name one in its key `file`, relative to the channel", declared
    )
    for name in unmatched:
        issues.add("annotation files without an image, left out", name)
    if not annotation_of and parsed:
        raise UserError(
            f"no annotation file of {labels.name!r} belongs to an image of {images.name!r}: "
            f"{next(iter(parsed))} needs an image with its base name, or a key `file` that names one relative to the "
            f"channel; {images.name!r} holds {listing(images.path)}"
        )
    for name in files:
        if name not in annotation_of and name.lower().endswith(pairs.IMAGE_SUFFIXES):
            issues.add(f"images of {images.name} without an annotation file, left out", name)
    annotations = {name: parsed[annotation_of[name]] for name in sorted(annotation_of)}
    return Listing([Sample(name, None, files[name]) for name in annotations], annotations)


def _far_edges(annotation: Annotation) -> NDArray[np.float64]:
    """Return the larger of xmax and ymax, float64 (n,), of each box that is finite and has an area."""
    boxes = annotation.boxes[np.isfinite(annotation.boxes).all(axis=1), 1:]
    return boxes[has_area(boxes), 2:].max(axis=1)


def _require_pixels(parsed: Mapping[str, Annotation], labels: Channel, issues: DataIssues, refuse: Refuse) -> None:
    """Call `refuse` if most boxes look like fractions. Otherwise, add files in which all boxes do to `issues`."""
    by_file = {name: _far_edges(annotation) for name, annotation in parsed.items() if annotation.size != FRACTIONS}
    tiny = [name for name, edges in by_file.items() if len(edges) and edges.max() <= _MAX_FRACTION]
    if not tiny:
        return
    edges = np.concatenate(list(by_file.values()))
    if np.sum(edges <= _MAX_FRACTION) > len(edges) / 2:
        corners = next(box[1:] for box in parsed[tiny[0]].boxes if has_area(box[1:]))
        left, top, right, bottom = (f"{side:g}" for side in corners)
        refuse(
            UserError(
                f"boxes of {labels.name!r} must be in pixels but look like fractions: {tiny[0]} has a box from "
                f"{left}, {top} to {right}, {bottom}; multiply them by the image's width and height"
            )
        )
        return
    for name in tiny:
        issues.add(
            f"annotation files whose boxes end within {_MAX_FRACTION} pixels of the corner and may be in fractions",
            name,
        )


def _read(path: Path, name: str, hp: Hyperparameters) -> Annotation | UserError:
    """Return the annotation in a file, or the error if it cannot be used."""
    try:
        return parse_json(path.read_bytes(), name, hp)
    except UserError as error:
        return error
    except OSError as error:
        return UserError(f"{name} cannot be read ({error}): fix its permissions, or remove it")


def categories(annotations: Iterable[Annotation]) -> list[tuple[int, str]]:
    """Return the distinct categories of all annotations as sorted pairs of id and name."""
    return sorted({category for annotation in annotations for category in annotation.categories.items()})


def class_names(categories: Iterable[tuple[int, str]], classes: int) -> tuple[str, ...] | None:
    """Return the class names in `categories`, pairs of id and name; None unless each class has exactly one name.

    Also return None if there are ids beyond the classes, because the classes may have been renumbered since.
    """
    names: dict[int, set[str]] = defaultdict(set)
    for label, name in categories:
        names[label].add(name)
    if set(names) != set(range(classes)) or any(len(of_class) > 1 for of_class in names.values()):
        return None
    return tuple(names[label].copy().pop() for label in range(classes))
