"""Masks whose pixels are colours or numbers that a table gives labels."""

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
    """Read the file at `path` into labels by the `colours` of its pixels, or by the `numbers` that are stored for them.

    Colours count where the table has all of them, also those of a palette or of grey; else numbers do, of which
    masks.IGNORE stays itself. A palette that has one colour for two numbers is read by its numbers, if those have
    labels. A wholly transparent pixel is white if its own colour has no label.
    Raises UserError naming `source` for a file that cannot be read or has neither.
    """
    data = mask.read_as_png(path, source)
    codes = {red << 16 | green << 8 | blue: label for (red, green, blue), label in colours.items()}
    planes = mask.apply_to_image(data, None, source, _planes)
    packed = (planes[..., 0] << 16 | planes[..., 1] << 8 | planes[..., 2]).astype(np.uint32, copy=False)
    clear = planes[..., 3] == 0
    packed[clear & ~np.isin(packed, list(codes))] = _WHITE
    try:
        stored, repaired = masks.decode(data)
    except UnreadableImage:  # A picture of colours, or of another format: its colours say whether it is a mask.
        stored, repaired = None, False
    ambiguous = stored is not None and numbers and np.unique(stored).size > np.unique(packed).size
    labels = None if ambiguous else _by_colour(packed, codes)
    if labels is not None:
        repaired = False
    elif stored is not None:
        labels = _by_number(stored, numbers)
    if labels is None:
        raise UserError(f"{source} has {_unknown(packed, stored, codes, numbers)}, which no class has: name it, too")
    as_it_is = stored is not None and not repaired and np.array_equal(labels, stored)
    return DecodedMask(labels, data if as_it_is else None, repaired)


def _planes(image: Image.Image) -> NDArray[np.uint32]:
    """Red, green, blue and opacity, (H, W, 4); of grey with 16 bits up to 255."""
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
    """The first colour, or number and colour, without a label, in words, and where it is."""
    strange = ~np.isin(packed, list(codes))
    if stored is not None:
        strange &= ~np.isin(stored, [*numbers, masks.IGNORE])
    places = np.argwhere(strange)
    y, x = places[0] if len(places) else (0, 0)
    number = "" if stored is None else f"the number {stored[y, x]} with "
    return f"{number}the colour #{packed[y, x]:06x} in column {x} of row {y}"
