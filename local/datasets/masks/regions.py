"""Convert polygons and run lengths, as in COCO, to regions of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_CROSSINGS = 20_000_000


@dataclass(frozen=True)
class Region:
    """A region clipped to its photo: its upper left pixel, and the mask `inside` as bool (h, w)."""

    left: int
    top: int
    inside: NDArray[np.bool_]

    @property
    def area(self) -> int:
        """The area in pixels."""
        return int(np.count_nonzero(self.inside))

    def paint(self, mask: NDArray[np.uint8], value: int) -> None:
        """Write `value` to the pixels of the region in a mask (H, W)."""
        height, width = self.inside.shape
        mask[self.top : self.top + height, self.left : self.left + width][self.inside] = value


def union(regions: Sequence[Region]) -> Region:
    """Return the union of one or more regions."""
    left, top = min(region.left for region in regions), min(region.top for region in regions)
    right = max(region.left + region.inside.shape[1] for region in regions)
    bottom = max(region.top + region.inside.shape[0] for region in regions)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for region in regions:
        Region(region.left - left, region.top - top, region.inside).paint(mask, 1)
    return Region(left, top, mask > 0)


def rectangle(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Region:
    """Return the pixels whose centres are in a box, on a photo of (width, height) pixels."""
    return polygon(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), size)


def polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> Region:
    """Return the pixels whose centres are in a polygon, on a photo of (width, height) pixels.

    `corners` is float (n, 2) with finite x and y. Filling follows the even-odd rule, as in COCO's own code. Raise
    ValueError if the polygon is too complex; the message continues a sentence about the polygon.
    """
    empty = Region(0, 0, np.zeros((0, 0), np.bool_))
    if len(corners) < 3:
        return empty
    width, height = size
    left, top = (int(value) for value in np.clip(np.floor(corners.min(axis=0)), 0, size))
    right, bottom = (int(value) for value in np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)))
    if left >= right or top >= bottom:
        return empty
    ends = np.roll(corners, -1, axis=0)
    # For each edge, the rows whose centres (row + 0.5) it crosses.
    first, last = (
        np.clip(np.ceil(edge - 0.5), top, bottom).astype(np.int64)
        for edge in (np.minimum(corners[:, 1], ends[:, 1]), np.maximum(corners[:, 1], ends[:, 1]))
    )
    counts = last - first
    if counts.sum() > _MAX_CROSSINGS:
        raise ValueError(f"has {len(corners)} corners and crosses too many rows of pixels: simplify it")
    edges = np.repeat(np.arange(len(corners)), counts)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]
    (x, y), (step_x, step_y) = corners[edges].T, (ends - corners)[edges].T
    crossed = x + (rows + 0.5 - y) * step_x / step_y
    columns = np.clip(np.ceil(crossed - 0.5), left, right).astype(np.int64)
    # Each crossing toggles between outside and inside for the pixels to its right.
    changes = np.zeros((bottom - top, right - left + 1), np.uint8)
    np.add.at(changes, (rows - top, columns - left), 1)
    return Region(left, top, np.bitwise_xor.accumulate(changes & 1, axis=1)[:, :-1] > 0)


def runs(counts: NDArray[np.int64], size: tuple[int, int]) -> Region:
    """Return the pixels of run lengths on a photo of (width, height): outside, inside, outside, ..., by columns.

    Raise ValueError if the run lengths do not fit the photo. The message continues a sentence about the run lengths.
    """
    width, height = size
    if (counts < 0).any() or (counts > width * height).any() or counts.sum() != width * height:
        raise ValueError(f"do not add up to {width} x {height} pixels: export the file again")
    inside = np.repeat(np.arange(len(counts)) % 2 > 0, counts).reshape(width, height).T
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return Region(0, 0, inside[:0, :0])
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return Region(int(left), int(top), inside[top:bottom, left:right].copy())


def run_lengths(text: str) -> NDArray[np.int64]:
    """Decode run lengths from COCO's compressed string (rleToString in maskApi.c) to int64.

    Each character, minus "0", holds five bits of a number, lowest first. The sixth bit means that more characters
    follow, and the fifth bit of the last character is the sign. From the fourth number on, the difference to the number
    two before is stored. Raise ValueError for other strings. The message continues a sentence about the string.
    """
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - ord("0")
    if (codes < 0).any() or (codes > 63).any() or not len(codes) or codes[-1] & 32:
        raise ValueError("are not in COCO's compressed form: export the file again")
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 8:
        raise ValueError("are not in COCO's compressed form, because a number is too long: export the file again")
    numbers = np.add.reduceat((codes & 31) << 5 * places, starts)
    numbers -= np.where(codes[ends] & 16, 1 << 5 * (places[ends] + 1), 0)
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers
