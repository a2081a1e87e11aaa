"""SSD's expansion and IoU-constrained crop, combined into one window onto a photo.

The window is chosen first and only its contents are computed, never an expanded photo with 16 times the pixels. NumPy
only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.object_detection.boxes import has_area, overlaps

_EXPAND_PROBABILITY, _MAX_EXPANSION, _FULL_EXPANSION_SIDE = 0.5, 4.0, 300
# The minimum overlap of the window with at least one box; None allows any window. Not cropping is one more choice.
_MIN_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9, None)
_TRIALS = 50
_MIN_SCALE, _MAX_ASPECT = 0.3, 2.0


@dataclass(frozen=True)
class Window:
    """A rectangle in whole pixels, relative to a photo's top left corner. It may extend beyond the photo."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Span:
    """On one axis: pixels `begin` to `end` of the photo fill pixels `to_begin` to `to_end` of the input."""

    begin: int
    end: int
    to_begin: int
    to_end: int

    def move(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert coordinates from pixels of the photo to pixels of the input."""
        return self.to_begin + (values - self.begin) * ((self.to_end - self.to_begin) / (self.end - self.begin))


def max_expansion(side: int) -> float:
    """Return the maximum ratio of the canvas's sides to the photo's, for an input of `side` pixels.

    It is SSD's 4 at 300 pixels and more, and proportionally less below, so that objects do not get smaller than at 300
    pixels.
    """
    return min(_MAX_EXPANSION, max(1.0, _MAX_EXPANSION * side / _FULL_EXPANSION_SIDE))


def choose(
    width: int, height: int, corners: NDArray[np.float64], rng: np.random.Generator, max_ratio: float = _MAX_EXPANSION
) -> Window:
    """Return a window for a photo of `width` x `height` pixels with boxes `corners`, float (n, 4), in pixels.

    With probability 0.5 the photo is first placed on a canvas that is up to `max_ratio` times as wide and high. A photo
    without boxes is treated as one box. The window contains the centre of at least one box.
    """
    canvas = (
        _expand(width, height, max_ratio, rng) if rng.random() < _EXPAND_PROBABILITY else Window(0, 0, width, height)
    )
    objects = corners if len(corners) else np.array([[0.0, 0.0, width, height]])
    # Taking the first feasible choice in random order picks one of the feasible choices at random.
    for choice in rng.permutation(len(_MIN_OVERLAPS) + 1):
        if choice == len(_MIN_OVERLAPS):
            return canvas
        crops = _crops(canvas, rng)
        good = centres_inside(objects, crops[:, None]).any(axis=1)
        if _MIN_OVERLAPS[choice] is not None:
            good &= overlaps(crops, objects).max(axis=1) >= _MIN_OVERLAPS[choice]
        if good.any():
            left, top, right, bottom = crops[good.argmax()].astype(int).tolist()
            return Window(left, top, right - left, bottom - top)
    raise AssertionError("one of the choices is the whole canvas")


def centres_inside(corners: NDArray[np.float64], windows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return bool (..., n): whether the centre of each box (n, 4) is inside windows (..., 4). Both are corners."""
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    return np.all((centres >= windows[..., :2]) & (centres < windows[..., 2:]), axis=-1)


def fit(window: Window, width: int, height: int, side: int) -> tuple[Span, Span]:
    """Return which columns and rows of a `width` x `height` photo fill which of the `side` x `side` input pixels.

    Spans are at least one pixel and end on whole pixels, so that boxes converted with them match their objects exactly.
    """
    return _span(window.left, window.width, width, side), _span(window.top, window.height, height, side)


def visible_boxes(
    boxes: NDArray[np.float64], window: Window, columns: Span, rows: Span, side: int
) -> NDArray[np.float32]:
    """Return the boxes in the window, float32 (m, 5) in fractions, from float64 (n, 5) in pixels of the photo.

    Boxes whose centre is inside are kept and clipped to the window.
    """
    edges = np.array([window.left, window.top, window.left + window.width, window.top + window.height])
    kept = boxes[centres_inside(boxes[:, 1:], edges)]
    kept[:, [1, 3]] = columns.move(kept[:, [1, 3]])
    kept[:, [2, 4]] = rows.move(kept[:, [2, 4]])
    kept[:, 1:] = np.clip(kept[:, 1:] / side, 0, 1)
    clipped = kept.astype(np.float32)
    return clipped[has_area(clipped[:, 1:])]


def _expand(width: int, height: int, max_ratio: float, rng: np.random.Generator) -> Window:
    ratio = rng.uniform(1, max_ratio)
    wide, high = int(width * ratio), int(height * ratio)
    return Window(-int(rng.integers(wide - width + 1)), -int(rng.integers(high - height + 1)), wide, high)


def _crops(canvas: Window, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the corners of random crops of the canvas, float64 (_TRIALS, 4), in whole pixels."""
    draws = rng.random((4, _TRIALS))
    scale = _MIN_SCALE + (1 - _MIN_SCALE) * draws[0]
    narrowest, widest = np.maximum(1 / _MAX_ASPECT, scale**2), np.minimum(_MAX_ASPECT, scale**-2)
    stretch = np.sqrt(narrowest + (widest - narrowest) * draws[1])
    wide = np.maximum((canvas.width * scale * stretch).astype(int), 1)
    high = np.maximum((canvas.height * scale / stretch).astype(int), 1)
    left = canvas.left + (draws[2] * (canvas.width - wide + 1)).astype(int)
    top = canvas.top + (draws[3] * (canvas.height - high + 1)).astype(int)
    return np.stack([left, top, left + wide, top + high], axis=1).astype(np.float64)


def _span(start: int, length: int, photo: int, side: int) -> Span:
    begin, end = max(start, 0), min(start + length, photo)
    to_begin = min(round((begin - start) * side / length), side - 1)
    to_end = max(round((end - start) * side / length), to_begin + 1)
    return Span(begin, end, to_begin, to_end)
