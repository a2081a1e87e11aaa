"""From a segmenter's logits, coarse and of the padded input, to a mask at the photo's own size, and to a file of it.

NumPy and Pillow only: training evaluates with the same code.

A pixel gets the bilinear mean of the logits around it, of all classes, before one is chosen: edges run smoothly
between the cells. The mean is taken with products and sums of NumPy alone, whose results are the same bits in every
environment; a matrix product would start the threads of a BLAS besides, which take cores from other predictions.
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
"""What is worked on at once: a few 100 kB, whatever the size of the photo and the number of classes."""


def class_ids(logits: NDArray[np.float32], size: tuple[int, int], spec: InputSpec) -> NDArray[np.uint8]:
    """Logits float32 (C, h, w) of one image -> its mask, uint8 (H, W): the class whose logit is largest in each pixel.

    `size` is (W, H) of the upright image in pixels, `spec` what made it the input. Equal logits: the lowest class.
    """
    width, height = size
    ids = np.zeros((height, width), np.uint8)
    for where, planes in _tiles(logits, size, spec):
        best = next(planes)
        for index, plane in enumerate(planes, start=1):
            np.copyto(ids[where], np.uint8(index), where=plane > best)
            np.maximum(best, plane, out=best)
    return ids


def probabilities(logits: NDArray[np.float32], size: tuple[int, int], spec: InputSpec) -> NDArray[np.float32]:
    """As `class_ids`, but the softmax over the classes in each pixel: float32 (C, H, W)."""
    width, height = size
    chances = np.empty((len(logits), height, width), np.float32)
    for (rows, columns), planes in _tiles(logits, size, spec):
        part = chances[:, rows, columns]
        for target, plane in zip(part, planes, strict=True):
            target[...] = plane
        part -= part.max(axis=0)
        np.exp(part, out=part)
        part /= part.sum(axis=0)
    return chances


def png(mask: NDArray[np.uint8]) -> bytes:
    """A mask, uint8 (H, W) -> a PNG file of palette colours whose pixels, 8 bits each, are the mask's numbers."""
    image = Image.fromarray(mask)
    image.putpalette(PALETTE)
    file = io.BytesIO()
    # Masks are runs of one number. Looking for nothing else takes half a millisecond for 500 x 375 pixels, and the
    # file is as small as by zlib's default in twice the time.
    image.save(file, "PNG", compress_type=zlib.Z_RLE)
    return file.getvalue()


def _palette() -> bytes:
    """R, G, B of the 256 numbers a mask may hold: 0 nearly black, 255, which is no class, white.

    From one class to the next the hue goes on by the golden section, which never comes back to where it was and keeps
    far from the last few; lightness and saturation change as well.
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
    """The photo piece by piece: rows and columns, and for each class in turn its logits there, float32."""
    covered, (width, height) = placed(size, spec), size
    stride = spec.resize // logits.shape[-1]  # input pixels that a cell covers
    # Cells whose centre lies on the photo, one at least: what the others say is about the padding.
    columns, rows = (max(1, (side + stride // 2) // stride) for side in covered)
    inside = logits[:, :rows, :columns]
    wide = min(width, _TILE_WIDTH)
    high = max(1, _TILE_PIXELS // wide)
    for top in range(0, height, high):
        down = _taps(range(top, min(top + high, height)), covered[1] / stride, height, rows)
        for left in range(0, width, wide):
            across = _taps(range(left, min(left + wide, width)), covered[0] / stride, width, columns)
            where = (slice(top, top + high), slice(left, left + wide))
            yield where, (_plane(cells, down, across) for cells in inside)


class _Taps(NamedTuple):
    """A resize along one axis: result[i] = the sum over k of weights[k, i] x source[indices[k, i]]."""

    indices: NDArray[np.intp]
    weights: NDArray[np.float32]


def _taps(part: range, covered: float, pixels: int, cells: int) -> _Taps:
    """The pixels `part` of `pixels`, which lie evenly on `covered` cells, from `cells` cells.

    Bilinear, half-pixel centres; beyond the first and the last centre the cell goes on. Where a pixel is larger than
    a cell its reach grows with it, so that no cell is passed over, as in Pillow's resize.
    """
    scale = covered / pixels
    reach = max(scale, 1.0)
    centres = (np.arange(part.start, part.stop) + 0.5) * scale - 0.5  # cell 0 has its own at 0
    first = np.floor(centres - reach).astype(np.intp) + 1
    indices = first + np.arange(math.ceil(2 * reach))[:, np.newaxis]
    weights = np.maximum(0, 1 - np.abs(indices - centres) / reach)
    weights[(indices < 0) | (indices >= cells)] = 0
    weights /= weights.sum(axis=0)
    return _Taps(indices.clip(0, cells - 1), weights.astype(np.float32))


def _plane(cells: NDArray[np.float32], down: _Taps, across: _Taps) -> NDArray[np.float32]:
    """One class's cells (h, w) -> its logits in the pixels that the taps are for, across first: the smaller work."""
    top, bottom = down.indices.min(), down.indices.max() + 1
    wide = _resize(cells[top:bottom], across.indices, across.weights, axis=1)
    return _resize(wide, down.indices - top, down.weights[..., np.newaxis], axis=0)


def _resize(
    cells: NDArray[np.float32], indices: NDArray[np.intp], weights: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """The weighted sum of what lies at each row of `indices` along `axis`."""
    total: NDArray[np.float32] | None = None
    for where, share in zip(indices, weights, strict=True):
        term = np.take(cells, where, axis=axis)  # faster than by `cells[where]`
        term *= share
        total = term if total is None else np.add(total, term, out=total)
    assert total is not None
    return total
