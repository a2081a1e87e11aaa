"""Turns the coarse logits of the padded input into a mask at the photo's original size, and into a PNG file.

NumPy and Pillow only, because training evaluates with the same code.

The logits of all classes are interpolated bilinearly before the best class is chosen, which gives smooth edges between
the cells. The interpolation uses only elementwise NumPy operations, which give bit-identical results in every
environment. A matrix product would also start BLAS threads, which take cores from other predictions.
"""

import colorsys
import io
import math
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve.artifact import InputSpec
from serve.preprocess import placed

_TILE_PIXELS, _TILE_WIDTH = 1 << 16, 2048
"""The size of a tile. A tile takes a few hundred kB, whatever the size of the photo and the number of classes."""


def class_ids(logits: NDArray[np.float32], size: tuple[int, int], spec: InputSpec) -> NDArray[np.uint8]:
    """Return the mask of one image, uint8 (H, W), with the class of the largest logit in each pixel.

    `logits` is float32 (C, h, w). `size` is (W, H) of the upright image in pixels, and `spec` describes how it became
    the input. If logits are equal, the lowest class wins.
    """
    width, height = size
    ids = np.zeros((height, width), np.uint8)
    for area, planes in _tiles(logits, size, spec):
        best = next(planes)
        for index, plane in enumerate(planes, start=1):
            np.copyto(ids[area], np.uint8(index), where=plane > best)
            np.maximum(best, plane, out=best)
    return ids


def probabilities(logits: NDArray[np.float32], size: tuple[int, int], spec: InputSpec) -> NDArray[np.float32]:
    """Return the softmax over the classes in each pixel, float32 (C, H, W); arguments as for `class_ids`."""
    width, height = size
    result = np.empty((len(logits), height, width), np.float32)
    for (rows, columns), planes in _tiles(logits, size, spec):
        part = result[:, rows, columns]
        for target, plane in zip(part, planes, strict=True):
            target[...] = plane
        part -= part.max(axis=0)
        np.exp(part, out=part)
        part /= part.sum(axis=0)
    return result


def png(mask: NDArray[np.uint8]) -> bytes:
    """Return a mask, uint8 (H, W), as an 8-bit PNG file with a colour palette and class ids as pixel values."""
    image = Image.fromarray(mask)
    image.putpalette(PALETTE)
    file = io.BytesIO()
    # Masks consist of long runs, so run-length matching is enough: 0.5 ms for 500 x 375 pixels, half the time of zlib's
    # default strategy, and the file is as small.
    image.save(file, "PNG", compress_type=zlib.Z_RLE)
    return file.getvalue()


def _palette() -> bytes:
    """Return R, G, B for the 256 possible values in a mask: almost black for 0, white for 255 (not a class).

    The hue advances by the golden ratio from class to class, so it never repeats and differs from the previous few.
    Lightness and saturation vary as well.
    """
    colours = [(0.19, 0.21, 0.24)]
    for index in range(254):
        hue = (0.08 + index * (math.sqrt(5) - 1) / 2) % 1
        lightness, saturation = (0.62, 0.8, 0.5)[index % 3], (0.85, 0.6, 1.0)[index // 3 % 3]
        colours.append(colorsys.hls_to_rgb(hue, lightness, saturation))
    colours.append((1.0, 1.0, 1.0))
    return bytes(round(255 * part) for colour in colours for part in colour)


PALETTE = _palette()


def _tiles(
    logits: NDArray[np.float32], size: tuple[int, int], spec: InputSpec
) -> Iterator[tuple[tuple[slice, slice], Iterator[NDArray[np.float32]]]]:
    """Yield the photo in tiles: rows and columns, and for each class in turn its float32 logits there."""
    covered, (width, height) = placed(size, spec), size
    stride = spec.resize // logits.shape[-1]  # input pixels that a cell covers
    # Use only the cells with their centre on the photo, but at least one. The others describe the padding.
    columns, rows = (max(1, (side + stride // 2) // stride) for side in covered)
    inside = logits[:, :rows, :columns]
    wide = min(width, _TILE_WIDTH)
    high = max(1, _TILE_PIXELS // wide)
    for top in range(0, height, high):
        down = _taps(range(top, min(top + high, height)), covered[1] / stride, height, rows)
        for left in range(0, width, wide):
            across = _taps(range(left, min(left + wide, width)), covered[0] / stride, width, columns)
            area = (slice(top, top + high), slice(left, left + wide))
            yield area, (_plane(cells, down, across) for cells in inside)


class _Taps(NamedTuple):
    """A resize along one axis: result[i] = sum over k of weights[k, i] x source[indices[k, i]]."""

    indices: NDArray[np.intp]
    weights: NDArray[np.float32]


def _taps(part: range, covered: float, pixels: int, cells: int) -> _Taps:
    """Return the taps for the range `part` of `pixels` pixels that evenly cover `covered` of `cells` cells.

    Bilinear with half-pixel centres; values are constant beyond the first and last centre. When downscaling, the
    support grows with the pixels so that every cell counts, as in Pillow's resize.
    """
    scale = covered / pixels
    reach = max(scale, 1.0)
    centres = (np.arange(part.start, part.stop) + 0.5) * scale - 0.5  # in cells; the centre of cell 0 is 0
    first = np.floor(centres - reach).astype(np.intp) + 1
    indices = first + np.arange(math.ceil(2 * reach))[:, np.newaxis]
    weights = np.maximum(0, 1 - np.abs(indices - centres) / reach)
    weights[(indices < 0) | (indices >= cells)] = 0
    weights /= weights.sum(axis=0)
    return _Taps(indices.clip(0, cells - 1), weights.astype(np.float32))


def _plane(cells: NDArray[np.float32], down: _Taps, across: _Taps) -> NDArray[np.float32]:
    """Resize the cells (h, w) of one class to the pixels of the taps, horizontally first because that is less work."""
    top, bottom = down.indices.min(), down.indices.max() + 1
    wide = _resize(cells[top:bottom], across.indices, across.weights, axis=1)
    return _resize(wide, down.indices - top, down.weights[..., np.newaxis], axis=0)


def _resize(
    cells: NDArray[np.float32], indices: NDArray[np.intp], weights: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Return the sum over the rows of `indices` and `weights` of the weighted cells at these indices along `axis`."""
    total: NDArray[np.float32] | None = None
    for row_indices, row_weights in zip(indices, weights, strict=True):
        term = np.take(cells, row_indices, axis=axis)  # faster than indexing
        term *= row_weights
        total = term if total is None else np.add(total, term, out=total)
    assert total is not None
    return total
