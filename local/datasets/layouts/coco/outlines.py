"""The masks of COCO's JSON: the polygons and run lengths of an image's objects, painted into one picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from local.datasets.files.values import is_pixels, preview
from local.datasets.layouts.coco.instances import Object, Picture
from local.datasets.masks.mask import DecodedMask
from local.datasets.masks.regions import Region, polygon, rectangle, run_lengths, runs, union
from local.errors import UserError
from serve.preprocess import MAX_PIXELS
from train.semantic_segmentation import masks


def paint(picture: Picture, photo: Path, labels: Mapping[str, int]) -> DecodedMask:
    """Paint a picture's objects into a mask: a category's label, 0 where there is none.

    Its size is the one that the file gives, else that of the photo as it is stored, as COCO's outlines are.
    Where objects overlap, the smaller one is on top, so that none is hidden. Below all of them masks.IGNORE
    marks crowds, and the boxes of objects that have nothing but a box. Raises UserError naming the annotation.
    """
    size = picture.size or _stored_size(photo, picture.source)
    width, height = size
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{picture.source} has {width} x {height} pixels, and at most {MAX_PIXELS} are read: scale it down"
        )
    mask = np.zeros((height, width), np.uint8)
    painted: list[tuple[Region, int]] = []
    for each in picture.objects:
        drawn = has_shape(each)
        found = _shape(each, size) if drawn else rectangle(*each.edges(), size)
        if drawn and not each.crowd:
            painted.append((found, labels[each.category]))
        else:
            found.paint(mask, masks.IGNORE)
    for found, label in sorted(painted, key=lambda one: -one[0].area):
        found.paint(mask, label)
    return DecodedMask(mask)


def _stored_size(photo: Path, source: str) -> tuple[int, int]:
    try:
        with Image.open(photo) as header:
            return header.size
    except (OSError, ValueError, Image.DecompressionBombError):
        raise UserError(f"{source} has no width and height, and its photo cannot be read: give both") from None


def has_shape(one: Object) -> bool:
    """Whether an object has more than its box: tools write none as null, [] or [[]]."""
    return one.segmentation not in (None, [], [[]], {}, "")


def _shape(one: Object, size: tuple[int, int]) -> Region:
    """The region of an object's polygons, or of its run lengths."""
    form = one.segmentation
    if isinstance(form, dict):
        return _from_runs(one, form, size)
    # Some tools leave the outer list out around a single polygon.
    polygons = [form] if isinstance(form, list) and not isinstance(form[0], list) else form
    if not isinstance(polygons, list):
        raise UserError(f"{one.where} has the segmentation {preview(form)}: expected polygons or run lengths")
    return union([_polygon(one, each, size) for each in polygons])


def _polygon(one: Object, numbers: object, size: tuple[int, int]) -> Region:
    if not isinstance(numbers, list) or len(numbers) % 2 or not all(map(is_pixels, numbers)):
        raise UserError(f"{one.where} has the polygon {preview(numbers)}: expected [x, y, x, y, ...] in pixels")
    try:
        return polygon(np.array(numbers, np.float64).reshape(-1, 2), size)
    except ValueError as error:
        raise UserError(f"{one.where} has a polygon that {error}") from None


def _from_runs(one: Object, form: Mapping[str, object], size: tuple[int, int]) -> Region:
    """COCO has {"size": [height, width], "counts": run lengths, or a text of them}."""
    counts = form.get("counts")
    if form.get("size") != [size[1], size[0]]:
        raise UserError(
            f"{one.where} has run lengths of the size {preview(form.get('size'))}: the image has "
            f"[{size[1]}, {size[0]}], height and width"
        )
    try:
        if isinstance(counts, str):
            return runs(run_lengths(counts), size)
        if isinstance(counts, list) and all(map(_is_count, counts)):
            return runs(np.array(counts, np.int64), size)
    except ValueError as error:
        raise UserError(f"{one.where} has the run lengths {preview(counts)}, which {error}") from None
    raise UserError(
        f"{one.where} has the run lengths {preview(counts)}: expected whole numbers, or COCO's text of them"
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PIXELS
