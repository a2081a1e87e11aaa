"""The built-in's augmentation of one photo with its mask: GluonCV's, plus colour jitter. NumPy, Pillow and OpenCV.

In this order: scaling the longer side to base_size times 0.5 to 2 and cropping, in a single resize; a horizontal flip;
brightness, contrast and saturation, each by a factor of 0.6 to 1.4, as in fb.resnet.torch and GluonCV's ImageNet
recipes. If the photo does not fill the crop, it is padded at the right and the bottom with ImageNet's mean. The loss
ignores the padding.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.data.pixels import MEAN
from train.semantic_segmentation.masks import IGNORE

_MIN_SCALE, _MAX_SCALE = 0.5, 2.0
_JITTER = 0.4
_FILL = tuple(round(255 * share) for share in MEAN)
_LUMINANCE = np.array([0.299, 0.587, 0.114])

# There is already one input thread per CPU, so OpenCV's threads would only compete with them.
cv2.setNumThreads(0)


def max_side(base_size: int) -> int:
    """Return the maximum length to which a photo's longer side is scaled. Photos need not be cached any larger."""
    return int(base_size * _MAX_SCALE)


def augment(
    photo: NDArray[np.uint8], mask: NDArray[np.uint8], base_size: int, crop_size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Augment a uint8 (H, W, 3) photo and mask (H, W); return uint8 (crop, crop, 3) and a mask uint8 (crop, crop)."""
    height, width = photo.shape[:2]
    long = int(rng.integers(int(base_size * _MIN_SCALE), max_side(base_size) + 1))
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
"""On one axis: begin and end in the source, in source pixels, and the length in the result, in its pixels."""


def _span(source: int, scale: float, crop: int, rng: np.random.Generator) -> Span:
    scaled = max(1, round(source * scale))
    length = min(scaled, crop)
    start = int(rng.integers(scaled - length + 1))
    return start * source / scaled, (start + length) * source / scaled, length


def resize(pixels: NDArray[np.uint8], columns: Span, rows: Span, how: Image.Resampling) -> NDArray[np.uint8]:
    """Resize a part of uint8 (H, W[, 3]) to uint8 (rows, columns[, 3]), as if the whole were resized, then cropped.

    Pillow copies its input, so it gets only the pixels that it needs.
    """
    (left, right, width), (top, bottom, height) = columns, rows
    x0, x1 = _support(left, right, width, pixels.shape[1])
    y0, y1 = _support(top, bottom, height, pixels.shape[0])
    image = Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
    return np.asarray(image.resize((width, height), how, box=(left - x0, top - y0, right - x0, bottom - y0)))


def _support(begin: float, end: float, length: int, source: int) -> tuple[int, int]:
    """Return the first pixel that Pillow's antialiased bilinear filter reads, and one past the last."""
    support = max(1.0, (end - begin) / length)
    return max(0, int(begin - support)), min(source, int(end + support) + 1)


def _colour(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a float64 (3, 4) matrix that maps R, G, B, 1 to new R, G, B. The caller clips the result to 0 to 255.

    Brightness, contrast (around the mean luminance) and saturation are linear, so that one pass over the pixels is
    enough.
    """
    brightness, contrast, saturation = rng.uniform(1 - _JITTER, 1 + _JITTER, 3)
    # Each row of the second term computes the pixel's luminance.
    chroma = saturation * np.eye(3) + (1 - saturation) * _LUMINANCE
    middle = brightness * float(_LUMINANCE @ cv2.mean(photo)[:3])
    return np.hstack([contrast * brightness * chroma, np.full((3, 1), (1 - contrast) * middle)])
