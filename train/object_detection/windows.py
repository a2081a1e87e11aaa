"""Where to look at a photo: SSD's expansion and IoU-constrained crop as one window, and where the photo lies in it.

The window is chosen first and only what it shows is ever made: an expanded photo of 16 times the pixels is not.
NumPy only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.object_detection.boxes import has_area, overlaps

_EXPAND_SHARE, _MAX_EXPANSION, _EXPAND_SIDE = 0.5, 4.0, 300
# The least overlap of the window with one box at least; None: any window. One more choice is no crop at all.
_LEAST_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9, None)
_TRIALS = 50
_SMALLEST_SCALE, _WIDEST_ASPECT = 0.3, 2.0


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels, counted from a photo's top left corner; it may reach beyond the photo."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Span:
    """Along one axis: the photo's pixels `begin` to `end` fill the input's pixels `to_begin` to `to_end`."""

    begin: int
    end: int
    to_begin: int
    to_end: int

    def move(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where photo coordinates, in pixels, lie in the input, in pixels."""
        return self.to_begin + (values - self.begin) * ((self.to_end - self.to_begin) / (self.end - self.begin))


def max_expansion(side: int) -> float:
    """Return how many times wider and higher than its photo a canvas may be, for an input of `side` pixels.

    SSD's 4 from its 300 pixels on, in proportion below: an object never gets fewer pixels than it would at 300.
    """
    return min(_MAX_EXPANSION, max(1.0, _MAX_EXPANSION * side / _EXPAND_SIDE))


def choose(
    width: int, height: int, corners: NDArray[np.float64], rng: np.random.Generator, most: float = _MAX_EXPANSION
) -> Window:
    """Return a window for a photo of `width` x `height` pixels with boxes `corners`, float (n, 4), in pixels.

    With a chance of one half the photo is first laid somewhere on a canvas up to `most` times as wide and high. A photo
    without boxes is treated as if all of it were one. The window holds the centre of one box at least.
    """
    canvas = _expand(width, height, most, rng) if rng.random() < _EXPAND_SHARE else Window(0, 0, width, height)
    objects = corners if len(corners) else np.array([[0.0, 0.0, width, height]])
    # The first choice that can be met, in random order: the same as one at random among those that can be met.
    for choice in rng.permutation(len(_LEAST_OVERLAPS) + 1):
        if choice == len(_LEAST_OVERLAPS):
            return canvas
        tried = _crops(canvas, rng)
        good = centres_inside(objects, tried[:, None]).any(axis=1)
        if _LEAST_OVERLAPS[choice] is not None:
            good &= overlaps(tried, objects).max(axis=1) >= _LEAST_OVERLAPS[choice]
        if good.any():
            left, top, right, bottom = tried[good.argmax()].astype(int).tolist()
            return Window(left, top, right - left, bottom - top)
    raise AssertionError("one of the choices is the whole canvas")


def centres_inside(corners: NDArray[np.float64], windows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which boxes (n, 4) have their centre inside of windows (..., 4), both corners: bool (..., n)."""
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    return np.all((centres >= windows[..., :2]) & (centres < windows[..., 2:]), axis=-1)


def fit(window: Window, width: int, height: int, side: int) -> tuple[Span, Span]:
    """Return which columns and rows of a `width` x `height` photo fill which of `side` x `side` input pixels.

    Whole pixels on both sides, at least one: boxes moved by the same spans stay exactly where their objects are.
    """
    return _span(window.left, window.width, width, side), _span(window.top, window.height, height, side)


def visible_boxes(
    boxes: NDArray[np.float64], window: Window, columns: Span, rows: Span, side: int
) -> NDArray[np.float32]:
    """Return what of boxes float64 (n, 5), in pixels of the photo, is in the window: float32 (m, 5) in fractions.

    A box stays when its centre is inside; it is cut at the window's edges.
    """
    edges = np.array([window.left, window.top, window.left + window.width, window.top + window.height])
    kept = boxes[centres_inside(boxes[:, 1:], edges)]
    kept[:, [1, 3]] = columns.move(kept[:, [1, 3]])
    kept[:, [2, 4]] = rows.move(kept[:, [2, 4]])
    kept[:, 1:] = np.clip(kept[:, 1:] / side, 0, 1)
    made = kept.astype(np.float32)
    return made[has_area(made[:, 1:])]


def _expand(width: int, height: int, most: float, rng: np.random.Generator) -> Window:
    ratio = rng.uniform(1, most)
    wide, high = int(width * ratio), int(height * ratio)
    return Window(-int(rng.integers(wide - width + 1)), -int(rng.integers(high - height + 1)), wide, high)


def _crops(canvas: Window, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return _TRIALS corners float64 (_TRIALS, 4) of whole pixels inside of the canvas."""
    draws = rng.random((4, _TRIALS))
    scale = _SMALLEST_SCALE + (1 - _SMALLEST_SCALE) * draws[0]
    narrowest, widest = np.maximum(1 / _WIDEST_ASPECT, scale**2), np.minimum(_WIDEST_ASPECT, scale**-2)
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
