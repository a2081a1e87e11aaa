"""Decode masks with a table that maps colours or numbers to labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from local.datasets.masks import mask
from local.datasets.masks.mask import Colour, DecodedMask
from local.errors import UserError
from serve.preprocess import UnreadableImage
from train.semantic_segmentation import masks

_WHITE = 0xFFFFFF


def read(path: Path, source: str, colours: Mapping[Colour, int], numbers: Mapping[int, int]) -> DecodedMask:
    """Map the pixels of the file at `path` to labels by their colours in `colours` or by their values in `numbers`.

    Use colours, including those of a palette or of grey pixels, if the table has all of them. Otherwise use numbers,
    where masks.IGNORE maps to itself. If a palette has the same colour for two numbers, use the numbers if they have
    labels. A fully transparent pixel counts as white if its colour has no label.

    Raise UserError naming `source` if the file cannot be read or has a value without a label.
    """
    data = mask.read_as_png(path, source)
    codes = {red << 16 | green << 8 | blue: label for (red, green, blue), label in colours.items()}
    planes = mask.apply_to_image(data, None, source, _planes)
    packed = (planes[..., 0] << 16 | planes[..., 1] << 8 | planes[..., 2]).astype(np.uint32, copy=False)
    transparent = planes[..., 3] == 0
    packed[transparent & ~np.isin(packed, list(codes))] = _WHITE
    try:
        stored, repaired = masks.decode(data)
    except UnreadableImage:  # A colour picture or another format. Its colours decide whether it is a mask.
        stored, repaired = None, False
    ambiguous = stored is not None and numbers and np.unique(stored).size > np.unique(packed).size
    labels = None if ambiguous else _by_colour(packed, codes)
    if labels is not None:
        repaired = False
    elif stored is not None:
        labels = _by_number(stored, numbers)
    if labels is None:
        raise UserError(f"{source} has {_unknown(packed, stored, codes, numbers)}, which has no class: add it")
    unchanged = stored is not None and not repaired and np.array_equal(labels, stored)
    return DecodedMask(labels, data if unchanged else None, repaired)


def _planes(image: Image.Image) -> NDArray[np.uint32]:
    """Return red, green, blue and alpha as (H, W, 4). Values of 16-bit grey are limited to 255."""
    grey = image.mode.startswith("I")
    return np.asarray((image.convert("I").convert("L") if grey else image).convert("RGBA"), np.uint32)


def _by_colour(packed: NDArray[np.uint32], codes: Mapping[int, int]) -> NDArray[np.uint8] | None:
    known = np.array(sorted(codes), np.uint32)
    at = np.minimum(np.searchsorted(known, packed), max(len(known) - 1, 0))
    if not len(known) or (known[at] != packed).any():
        return None
    labels: NDArray[np.uint8] = np.array([codes[code] for code in sorted(codes)], np.uint8)[at]
    return labels


def _by_number(stored: NDArray[np.uint8], numbers: Mapping[int, int]) -> NDArray[np.uint8] | None:
    known = {masks.IGNORE: masks.IGNORE, **numbers}
    if not set(np.unique(stored).tolist()) <= set(known):
        return None
    table = np.array([known.get(number, masks.IGNORE) for number in range(256)], np.uint8)
    labels: NDArray[np.uint8] = table[stored]
    return labels


def _unknown(
    packed: NDArray[np.uint32], stored: NDArray[np.uint8] | None, codes: Mapping[int, int], numbers: Mapping[int, int]
) -> str:
    """Describe the first colour, or number and colour, without a label, and its place."""
    unknown = ~np.isin(packed, list(codes))
    if stored is not None:
        unknown &= ~np.isin(stored, [*numbers, masks.IGNORE])
    places = np.argwhere(unknown)
    y, x = places[0] if len(places) else (0, 0)
    number = "" if stored is None else f"the number {stored[y, x]} with "
    return f"{number}the colour #{packed[y, x]:06x} in column {x} of row {y}"
