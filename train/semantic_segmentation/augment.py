"""The built-in's augmentation of one photo with its mask, which is GluonCV's with colours added; NumPy, Pillow, OpenCV.

In this order: the longer side to base_size times 0.5 to 2, a crop, both in one resize; a flip; brightness, contrast and
saturation, each by a factor of 0.6 to 1.4, as fb.resnet.torch and after it GluonCV's recipes for ImageNet have them;
what the photo does not fill, right of it and below, is ImageNet's mean and counts in no loss.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.data.pixels import MEAN
from train.semantic_segmentation.masks import IGNORE

_SMALLEST, _LARGEST = 0.5, 2.0
_JITTER = 0.4
_FILL = tuple(round(255 * share) for share in MEAN)
_LUMINANCE = np.array([0.299, 0.587, 0.114])

# Each input thread is one of as many as there are processors; OpenCV's own threads would only get in their way.
cv2.setNumThreads(0)


def largest(base_size: int) -> int:
    """Return the most pixels that the longer side of a photo is ever scaled to: no more of it need be kept."""
    return int(base_size * _LARGEST)


def augment(
    photo: NDArray[np.uint8], mask: NDArray[np.uint8], base_size: int, crop_size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return uint8 (crop, crop, 3) and its mask uint8 (crop, crop) of a uint8 (H, W, 3) photo and its mask (H, W)."""
    height, width = photo.shape[:2]
    long = int(rng.integers(int(base_size * _SMALLEST), largest(base_size) + 1))
    columns = _span(width, long / max(height, width), crop_size, rng)
    rows = _span(height, long / max(height, width), crop_size, rng)
    part = resize(photo, columns, rows, Image.Resampling.BILINEAR)
    labels = resize(mask, columns, rows, Image.Resampling.NEAREST)
    if rng.random() < 0.5:
        part, labels = cv2.flip(part, 1), cv2.flip(labels, 1)
    part = cv2.transform(part, _colour(part, rng))
    edges = (0, crop_size - part.shape[0], 0, crop_size - part.shape[1], cv2.BORDER_CONSTANT)
    return cv2.copyMakeBorder(part, *edges, value=_FILL), cv2.copyMakeBorder(labels, *edges, value=IGNORE)


Span = tuple[float, float, int]
"""Along one axis: from where to where in the source, in its pixels, and how many pixels that becomes."""


def _span(source: int, scale: float, crop: int, rng: np.random.Generator) -> Span:
    scaled = max(1, round(source * scale))
    taken = min(scaled, crop)
    start = int(rng.integers(scaled - taken + 1))
    return start * source / scaled, (start + taken) * source / scaled, taken


def resize(pixels: NDArray[np.uint8], columns: Span, rows: Span, how: Image.Resampling) -> NDArray[np.uint8]:
    """Return uint8 (rows, columns[, 3]) of a part of uint8 (H, W[, 3]): as if the whole were resized and then cropped.

    Only what the part needs is handed to Pillow, which copies what it is given.
    """
    (left, right, width), (top, bottom, height) = columns, rows
    x0, x1 = _reach(left, right, width, pixels.shape[1])
    y0, y1 = _reach(top, bottom, height, pixels.shape[0])
    image = Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
    return np.asarray(image.resize((width, height), how, box=(left - x0, top - y0, right - x0, bottom - y0)))


def _reach(begin: float, end: float, made: int, source: int) -> tuple[int, int]:
    """Return the first and the last but one whole pixel that Pillow's antialiased bilinear looks at."""
    support = max(1.0, (end - begin) / made)
    return max(0, int(begin - support)), min(source, int(end + support) + 1)


def _colour(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a float64 (3, 4) matrix that maps R, G, B, 1 to new R, G, B; cut off at 0 and 255 by who applies it.

    Brightness, contrast (around the mean luminance) and saturation are linear: one pass over the pixels makes them all.
    """
    brightness, contrast, saturation = rng.uniform(1 - _JITTER, 1 + _JITTER, 3)
    chroma = saturation * np.eye(3) + (1 - saturation) * _LUMINANCE  # each row: the luminance of the pixel
    middle = brightness * float(_LUMINANCE @ cv2.mean(photo)[:3])
    return np.hstack([contrast * brightness * chroma, np.full((3, 1), (1 - contrast) * middle)])
