"""Operations on arrays of boxes: area, overlap, flip and EXIF rotation. NumPy only."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)


def area(corners: NDArray[Real]) -> NDArray[Real]:
    """Return the areas (...,) of corners (..., 4) [xmin, ymin, xmax, ymax]; negative if one pair is reversed."""
    width: NDArray[Real] = corners[..., 2] - corners[..., 0]
    height: NDArray[Real] = corners[..., 3] - corners[..., 1]
    return width * height


def has_area(corners: NDArray[Real]) -> NDArray[np.bool_]:
    """Return bool (...,): whether corners (..., 4) have a positive width and height."""
    return np.all(corners[..., 2:] > corners[..., :2], axis=-1)


def overlaps(a: NDArray[Real], b: NDArray[Real]) -> NDArray[Real]:
    """Return the intersection over union (n, m) of corners (n, 4) and (m, 4); 0 if neither has an area."""
    # One coordinate at a time, because NumPy is several times faster on (n, m) than along a last axis of 2.
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = area(a)[:, None] + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def flip(boxes: NDArray[Real]) -> NDArray[Real]:
    """Return boxes (n, 5) [class, xmin, ymin, xmax, ymax], in fractions, of the horizontally flipped photo."""
    flipped = boxes.copy()
    flipped[:, 1], flipped[:, 3] = 1 - boxes[:, 3], 1 - boxes[:, 1]
    return flipped


# EXIF 2.32, tag Orientation: whether to swap x and y, then whether to mirror x, and whether to mirror y.
_TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def to_upright(boxes: NDArray[Real], orientation: int) -> NDArray[Real]:
    """Convert boxes (n, 5) from fractions of the stored image to fractions of the upright image.

    `orientation` is the EXIF value, 1 to 8. Any other value is treated as 1, which is stored upright.
    """
    swap, mirror_x, mirror_y = _TURNS.get(orientation, (False, False, False))
    kind, x0, y0, x1, y1 = boxes.T
    if swap:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if mirror_x:
        x0, x1 = 1 - x1, 1 - x0
    if mirror_y:
        y0, y1 = 1 - y1, 1 - y0
    return np.stack([kind, x0, y0, x1, y1], axis=1)
