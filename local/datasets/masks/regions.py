"""Regions of a photo: from polygons and run lengths, the forms of COCO and of what speaks it, to pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_CROSSINGS = 20_000_000


@dataclass(frozen=True)
class Region:
    """The part of a region that is inside its photo: the pixel of its upper left corner and `inside`, bool (h, w)."""

    left: int
    top: int
    inside: NDArray[np.bool_]

    @property
    def area(self) -> int:
        """In pixels."""
        return int(np.count_nonzero(self.inside))

    def paint(self, mask: NDArray[np.uint8], value: int) -> None:
        """Write `value` into the region's pixels of a mask (H, W)."""
        height, width = self.inside.shape
        mask[self.top : self.top + height, self.left : self.left + width][self.inside] = value


def union(regions: Sequence[Region]) -> Region:
    """The pixels that are in any of the regions, of which there is one at least."""
    left, top = min(one.left for one in regions), min(one.top for one in regions)
    right = max(one.left + one.inside.shape[1] for one in regions)
    bottom = max(one.top + one.inside.shape[0] for one in regions)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for one in regions:
        Region(one.left - left, one.top - top, one.inside).paint(mask, 1)
    return Region(left, top, mask > 0)


def rectangle(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Region:
    """The pixels whose centres are in a box, on a photo of (width, height) pixels."""
    return polygon(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), size)


def polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> Region:
    """The pixels whose centres are inside a polygon, float (n, 2) of finite x and y, on a photo of (width, height).

    Even-odd, as COCO's own code fills: what a line crosses twice is outside. Raises ValueError, in words that follow
    the polygon, for one of more corners than any photo needs.
    """
    nowhere = Region(0, 0, np.zeros((0, 0), np.bool_))
    if len(corners) < 3:
        return nowhere
    width, height = size
    left, top = (int(value) for value in np.clip(np.floor(corners.min(axis=0)), 0, size))
    right, bottom = (int(value) for value in np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)))
    if left >= right or top >= bottom:
        return nowhere
    ends = np.roll(corners, -1, axis=0)
    # The rows of pixels whose centres, at half past the number, an edge passes.
    first, last = (
        np.clip(np.ceil(edge - 0.5), top, bottom).astype(np.int64)
        for edge in (np.minimum(corners[:, 1], ends[:, 1]), np.maximum(corners[:, 1], ends[:, 1]))
    )
    counts = last - first
    if counts.sum() > _MAX_CROSSINGS:
        raise ValueError(f"has {len(corners)} corners and goes to and fro too often: draw it more simply")
    edges = np.repeat(np.arange(len(corners)), counts)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]
    (x, y), (step_x, step_y) = corners[edges].T, (ends - corners)[edges].T
    crossed = x + (rows + 0.5 - y) * step_x / step_y
    columns = np.clip(np.ceil(crossed - 0.5), left, right).astype(np.int64)
    # At each crossing, outside and inside change places for what is right of it.
    changes = np.zeros((bottom - top, right - left + 1), np.uint8)
    np.add.at(changes, (rows - top, columns - left), 1)
    return Region(left, top, np.bitwise_xor.accumulate(changes & 1, axis=1)[:, :-1] > 0)


def runs(counts: NDArray[np.int64], size: tuple[int, int]) -> Region:
    """The pixels of run lengths on a photo of (width, height): outside, inside, outside, ..., column by column.

    Raises ValueError, in words that follow the run lengths, where they are not those of the photo.
    """
    width, height = size
    if (counts < 0).any() or (counts > width * height).any() or counts.sum() != width * height:
        raise ValueError(f"are not those of {width} x {height} pixels: export the file again")
    inside = np.repeat(np.arange(len(counts)) % 2 > 0, counts).reshape(width, height).T
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return Region(0, 0, inside[:0, :0])
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return Region(int(left), int(top), inside[top:bottom, left:right].copy())


def run_lengths(text: str) -> NDArray[np.int64]:
    """The run lengths in COCO's compressed text (maskApi.c, rleToString): int64.

    A number is a character for each five bits, the lowest first, from "0" for 0; of the other bits the sixth says that
    more follow, and the last character's fifth is the sign. From the fourth on a number is the difference to the one
    two before. Raises ValueError, in words that follow the text, for what is not of this form.
    """
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - ord("0")
    if (codes < 0).any() or (codes > 63).any() or not len(codes) or codes[-1] & 32:
        raise ValueError("is not COCO's compressed form: export the file again")
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 8:
        raise ValueError("is not COCO's compressed form, it has a number of too many digits: export the file again")
    numbers = np.add.reduceat((codes & 31) << 5 * places, starts)
    numbers -= np.where(codes[ends] & 16, 1 << 5 * (places[ends] + 1), 0)
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers
