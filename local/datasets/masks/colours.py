"""Masks whose pixels are colours or numbers that a table gives labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from local.datasets.masks.mask import Painted
from local.errors import UserError
from serve import preprocess
from serve.preprocess import UnreadableImage
from train.semantic_segmentation import masks


def read(path: Path, source: str, colours: Mapping[int, int], numbers: Mapping[int, int]) -> Painted:
    """Read the PNG at `path` into labels by `colours`, 0xRRGGBB, or by the `numbers` that are stored for its pixels.

    Colours count where the table has all of them, also those of a palette or of grey; else numbers do, of which
    masks.IGNORE stays itself. A palette that has one colour for two numbers is read by its numbers. What is wholly
    transparent is white.
    Raises UserError naming `source` for a file that cannot be read or has neither.
    """
    try:
        data = path.read_bytes()
        picture = np.asarray(preprocess.decode(data), np.uint32)
    except OSError as error:
        raise UserError(f"{source} cannot be read ({error.strerror}): fix or remove it") from None
    except UnreadableImage as error:
        raise UserError(f"{source} {error}") from None
    try:
        stored: NDArray[np.uint8] | None
        stored, repaired = masks.decode(data)
    except UnreadableImage:  # A picture of colours, or of another format: its colours say whether it is a mask.
        stored, repaired = None, True
    packed = (picture[..., 0] << 16 | picture[..., 1] << 8 | picture[..., 2]).astype(np.uint32, copy=False)
    labels = _by_colour(packed, stored, colours)
    if labels is None and stored is not None:
        labels = _by_number(stored, numbers)
    if labels is None:
        raise UserError(f"{source} has {_unknown(packed, stored, colours, numbers)}, which no class has: name it, too")
    as_it_is = stored is not None and not repaired and np.array_equal(labels, stored)
    return Painted(labels, data if as_it_is else None, repaired)


def _by_colour(
    packed: NDArray[np.uint32], stored: NDArray[np.uint8] | None, colours: Mapping[int, int]
) -> NDArray[np.uint8] | None:
    found, at = np.unique(packed, return_inverse=True)
    if not set(found.tolist()) <= set(colours) or (stored is not None and len(np.unique(stored)) > len(found)):
        return None
    return np.array([colours[colour] for colour in found.tolist()], np.uint8)[at.reshape(packed.shape)]


def _by_number(stored: NDArray[np.uint8], numbers: Mapping[int, int]) -> NDArray[np.uint8] | None:
    known = {masks.IGNORE: masks.IGNORE, **numbers}
    if not set(np.unique(stored).tolist()) <= set(known):
        return None
    table = np.array([known.get(number, masks.IGNORE) for number in range(256)], np.uint8)
    labels: NDArray[np.uint8] = table[stored]
    return labels


def _unknown(
    packed: NDArray[np.uint32], stored: NDArray[np.uint8] | None, colours: Mapping[int, int], numbers: Mapping[int, int]
) -> str:
    """The first colour, or number and colour, without a label, in words, and where it is."""
    strange = ~np.isin(packed, list(colours))
    if stored is not None:
        strange &= ~np.isin(stored, [*numbers, masks.IGNORE])
    places = np.argwhere(strange)
    y, x = places[0] if len(places) else (0, 0)
    number = "" if stored is None else f"the number {stored[y, x]} with "
    return f"{number}the colour #{packed[y, x]:06x} in column {x} of row {y}"
