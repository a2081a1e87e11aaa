"""SSD's augmentation of one photo with its boxes (Liu et al. 2016, section 2.2). NumPy and OpenCV.

In this order: brightness, contrast, saturation and hue; expansion, filled with ImageNet's mean; a crop that overlaps
the boxes enough; resizing with a random interpolation; a horizontal flip. The ranges are those of the authors' program:
brightness by up to 32 of 255, contrast and saturation by a factor of 0.5 to 1.5, and hue by up to 36 degrees, each with
probability 0.5.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.pixels import MEAN
from train.object_detection import windows
from train.object_detection.boxes import flip, has_area

_BRIGHTNESS, _FACTOR, _HUE = 32.0, 0.5, np.deg2rad(36.0)
_FILL = tuple(round(255 * share) for share in MEAN)
# Without Lanczos, which takes fifteen times as long as cubic and looks the same.
_INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC)
# RGB to NTSC's YIQ: luminance and two colour axes, in which a change of hue is a rotation.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_RGB = np.linalg.inv(_YIQ)

# There is already one input thread per CPU, so OpenCV's threads would only compete with them.
cv2.setNumThreads(0)


def augment(
    photo: NDArray[np.uint8], boxes: NDArray[np.float32], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Augment a uint8 (H, W, 3) photo and boxes (n, 5); return uint8 (side, side, 3) and boxes float32 (m, 5), m <= n.

    Boxes are [class, xmin, ymin, xmax, ymax] in fractions. All have a positive area, before and after.
    """
    height, width = photo.shape[:2]
    pixels = boxes * np.array([1.0, width, height, width, height])
    window = windows.choose(width, height, pixels[:, 1:], rng, windows.max_expansion(side))
    columns, rows = windows.fit(window, width, height, side)
    visible = windows.visible_boxes(pixels, window, columns, rows, side)
    part = photo[rows.begin : rows.end, columns.begin : columns.end]
    size = (columns.to_end - columns.to_begin, rows.to_end - rows.to_begin)
    part = cv2.resize(part, size, interpolation=_INTERPOLATIONS[rng.integers(len(_INTERPOLATIONS))])
    part = cv2.transform(part, _colour(rng))
    if size != (side, side):
        right, below = side - columns.to_end, side - rows.to_end
        part = cv2.copyMakeBorder(part, rows.to_begin, below, columns.to_begin, right, cv2.BORDER_CONSTANT, value=_FILL)
    if rng.random() < 0.5:
        part, visible = cv2.flip(part, 1), flip(visible)
        visible = visible[has_area(visible[:, 1:])]  # rounding of 1 - x may collapse a box narrower than 1e-7
    return part, visible


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a float64 (3, 4) matrix that maps R, G, B, 1 to new R, G, B. The caller clips the result to 0 to 255.

    All four changes are linear, so that one pass over the pixels is enough.
    """
    brightness = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS) if rng.random() < 0.5 else 0.0
    contrast, saturation = (rng.uniform(1 - _FACTOR, 1 + _FACTOR) if rng.random() < 0.5 else 1.0 for _ in range(2))
    hue = rng.uniform(-_HUE, _HUE) if rng.random() < 0.5 else 0.0
    turned = saturation * np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]])
    chroma = np.eye(3)
    chroma[1:, 1:] = turned
    matrix = contrast * (_RGB @ chroma @ _YIQ)
    return np.hstack([matrix, np.full((3, 1), contrast * brightness)])
