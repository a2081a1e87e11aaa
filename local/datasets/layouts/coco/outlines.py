"""Paint the polygons and run lengths of an image's objects into one mask."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from local.datasets.files.values import is_pixels, preview
from local.datasets.layouts.coco.instances import ImageRecord, Object
from local.datasets.masks.mask import DecodedMask
from local.datasets.masks.regions import Region, polygon, rectangle, run_lengths, runs, union
from local.errors import UserError
from serve.preprocess import MAX_PIXELS
from train.semantic_segmentation import masks


def paint(record: ImageRecord, photo: Path, labels: Mapping[str, int]) -> DecodedMask:
    """Paint the objects of an image into a mask with the labels of their categories. The background is 0.

    The mask has the size that the file gives, else the size of the stored photo, to which COCO's outlines refer.
    Smaller objects are painted over larger ones so that none is hidden. Crowds and boxes of objects without
    an outline become masks.IGNORE, below all other objects.

    Raise UserError naming the annotation if a shape is invalid.
    """
    size = record.size or _stored_size(photo, record.source)
    width, height = size
    if width * height > MAX_PIXELS:
        raise UserError(f"{record.source} has {width} x {height} pixels, and the limit is {MAX_PIXELS}: scale it down")
    mask = np.zeros((height, width), np.uint8)
    painted: list[tuple[Region, int]] = []
    for item in record.objects:
        outlined = has_shape(item)
        region = _shape(item, size) if outlined else rectangle(*item.edges(), size)
        if outlined and not item.crowd:
            painted.append((region, labels[item.category]))
        else:
            region.paint(mask, masks.IGNORE)
    for region, label in sorted(painted, key=lambda pair: -pair[0].area):
        region.paint(mask, label)
    return DecodedMask(mask)


def _stored_size(photo: Path, source: str) -> tuple[int, int]:
    try:
        with Image.open(photo) as header:
            return header.size
    except (OSError, ValueError, Image.DecompressionBombError):
        raise UserError(f"{source} has no width and height, and its photo cannot be read: add both") from None


def has_shape(item: Object) -> bool:
    """Return whether an object has an outline. Tools write a missing one as null, [] or [[]]."""
    return item.segmentation not in (None, [], [[]], {}, "")


def _shape(item: Object, size: tuple[int, int]) -> Region:
    """Return the region of an object's polygons or run lengths."""
    form = item.segmentation
    if isinstance(form, dict):
        return _from_runs(item, form, size)
    # Some tools omit the outer list around a single polygon.
    polygons = [form] if isinstance(form, list) and not isinstance(form[0], list) else form
    if not isinstance(polygons, list):
        raise UserError(f"{item.place} has the segmentation {preview(form)}: expected polygons or run lengths")
    return union([_polygon(item, numbers, size) for numbers in polygons])


def _polygon(item: Object, numbers: object, size: tuple[int, int]) -> Region:
    if not isinstance(numbers, list) or len(numbers) % 2 or not all(map(is_pixels, numbers)):
        raise UserError(f"{item.place} has the polygon {preview(numbers)}: expected [x, y, x, y, ...] in pixels")
    try:
        return polygon(np.array(numbers, np.float64).reshape(-1, 2), size)
    except ValueError as error:
        raise UserError(f"{item.place} has a polygon that {error}") from None


def _from_runs(item: Object, form: Mapping[str, object], size: tuple[int, int]) -> Region:
    """Decode {"size": [height, width], "counts": run lengths as a list or as COCO's compressed string}."""
    counts = form.get("counts")
    if form.get("size") != [size[1], size[0]]:
        raise UserError(
            f"{item.place} has run lengths of the size {preview(form.get('size'))}: the image has the "
            f"height and width [{size[1]}, {size[0]}]"
        )
    try:
        if isinstance(counts, str):
            return runs(run_lengths(counts), size)
        if isinstance(counts, list) and all(map(_is_count, counts)):
            return runs(np.array(counts, np.int64), size)
    except ValueError as error:
        raise UserError(f"{item.place} has the run lengths {preview(counts)}, which {error}") from None
    raise UserError(
        f"{item.place} has the run lengths {preview(counts)}: expected whole numbers or COCO's compressed string"
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PIXELS
