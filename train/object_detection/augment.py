"""SSD's augmentations (Liu et al. 2016, section 2.2) of one photo with its boxes; NumPy and OpenCV.

In this order: brightness, contrast, saturation and hue; expansion, filled with ImageNet's mean; a crop that overlaps
the boxes enough; resizing by a random interpolation; a flip. Ranges are those of the authors' program: brightness by up
to 32 of 255, contrast and saturation by a factor of 0.5 to 1.5, hue by up to 36 degrees, each for every other photo.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.pixels import MEAN
from train.object_detection import windows
from train.object_detection.boxes import flip, has_area

_BRIGHTNESS, _FACTOR, _HUE = 32.0, 0.5, np.deg2rad(36.0)
_FILL = tuple(round(255 * share) for share in MEAN)
# Lanczos is left out: fifteen times cubic's time for the same look.
_INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC)
# RGB to luminance and two axes of colour (NTSC's YIQ), in which a change of hue is a rotation.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_RGB = np.linalg.inv(_YIQ)

# Each input thread is one of as many as there are processors; OpenCV's own threads would only get in their way.
cv2.setNumThreads(0)


def augment(
    photo: NDArray[np.uint8], boxes: NDArray[np.float32], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return uint8 (side, side, 3) and boxes float32 (m, 5), m <= n, of a uint8 (H, W, 3) photo and boxes (n, 5).

    Boxes are [class, xmin, ymin, xmax, ymax] in fractions, with a positive area before and after.
    """
    height, width = photo.shape[:2]
    pixels = boxes * np.array([1.0, width, height, width, height])
    window = windows.choose(width, height, pixels[:, 1:], rng, windows.max_expansion(side))
    columns, rows = windows.fit(window, width, height, side)
    made = windows.visible_boxes(pixels, window, columns, rows, side)
    part = photo[rows.begin : rows.end, columns.begin : columns.end]
    size = (columns.to_end - columns.to_begin, rows.to_end - rows.to_begin)
    part = cv2.resize(part, size, interpolation=_INTERPOLATIONS[rng.integers(len(_INTERPOLATIONS))])
    part = cv2.transform(part, _colour(rng))
    if size != (side, side):
        right, below = side - columns.to_end, side - rows.to_end
        part = cv2.copyMakeBorder(part, rows.to_begin, below, columns.to_begin, right, cv2.BORDER_CONSTANT, value=_FILL)
    if rng.random() < 0.5:
        part, made = cv2.flip(part, 1), flip(made)
        made = made[has_area(made[:, 1:])]  # 1 - x rounds: a box of less than 1e-7 may lose its width
    return part, made


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a float64 (3, 4) matrix that maps R, G, B, 1 to new R, G, B; cut off at 0 and 255 by who applies it.

    All four changes are linear, so one pass over the pixels makes them all.
    """
    brightness = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS) if rng.random() < 0.5 else 0.0
    contrast, saturation = (rng.uniform(1 - _FACTOR, 1 + _FACTOR) if rng.random() < 0.5 else 1.0 for _ in range(2))
    hue = rng.uniform(-_HUE, _HUE) if rng.random() < 0.5 else 0.0
    turned = saturation * np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]])
    chroma = np.eye(3)
    chroma[1:, 1:] = turned
    matrix = contrast * (_RGB @ chroma @ _YIQ)
    return np.hstack([matrix, np.full((3, 1), contrast * brightness)])
