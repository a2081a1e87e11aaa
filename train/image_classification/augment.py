"""The three augmentation types of the built-in, for one photo at a time; NumPy and OpenCV.

crop: random crop, horizontal flip. crop_color: and hue, saturation, lightness moved by up to 36, 50, 50 on OpenCV's
scales of 180, 255, 255, cut off at their ends as MXNet's own augmenter does. crop_color_transform: and rotation up to
10 degrees, shear up to 0.1, aspect ratio changed by up to 0.25. (Ranges: the built-in's hyperparameter table.)
"""

import cv2
import numpy as np
from numpy.typing import NDArray

TYPES = ("crop", "crop_color", "crop_color_transform")
_HUE, _SATURATION, _LIGHTNESS = 36, 50, 50
_DEGREES, _SHEAR, _ASPECT = 10.0, 0.1, 0.25

# Each input thread is one of as many as there are processors; OpenCV's own threads would only get in their way.
cv2.setNumThreads(0)


def augment(
    image: NDArray[np.uint8], height: int, width: int, kind: str | None, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a uint8 (height, width, C) view of a uint8 (H, W, C) photo, H >= height and W >= width.

    `kind` is one of TYPES, or None for the centre crop.
    """
    if kind is None:
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return image[top : top + height, left : left + width]
    crop = _transform(image, height, width, rng) if kind == "crop_color_transform" else _crop(image, height, width, rng)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return crop if kind == "crop" else _colour(np.ascontiguousarray(crop), rng)


def _crop(image: NDArray[np.uint8], height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    top = rng.integers(image.shape[0] - height + 1)
    left = rng.integers(image.shape[1] - width + 1)
    return image[top : top + height, left : left + width]


def _transform(image: NDArray[np.uint8], height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate, shear, stretch and crop in one interpolation; what lies outside the photo is mirrored."""
    angle = np.deg2rad(rng.uniform(-_DEGREES, _DEGREES))
    shear = rng.uniform(-_SHEAR, _SHEAR)
    stretch = np.sqrt(1 + rng.uniform(-_ASPECT, _ASPECT))
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotate @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([stretch, 1 / stretch])
    # The crop's window, seen in the photo, is a parallelogram: its centre may lie where that fits, else in the middle.
    half = np.abs(matrix) @ np.array([width / 2, height / 2])
    size = np.array([image.shape[1], image.shape[0]])
    room = np.maximum(size / 2 - half, 0)
    centre = size / 2 + rng.uniform(-1, 1, 2) * room
    offset = centre - matrix @ np.array([(width - 1) / 2, (height - 1) / 2]) - 0.5
    warp = np.hstack([matrix, offset[:, None]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(image, warp, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return out.reshape(height, width, image.shape[2])  # OpenCV drops an axis of length 1


def _colour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    levels = np.arange(256)
    lightness = np.clip(levels + rng.integers(-_LIGHTNESS, _LIGHTNESS + 1), 0, 255)
    if image.shape[2] == 1:
        return lightness.astype(np.uint8)[image]  # a grey photo has no hue and no saturation
    hue = np.clip(levels + rng.integers(-_HUE, _HUE + 1), 0, 179)
    saturation = np.clip(levels + rng.integers(-_SATURATION, _SATURATION + 1), 0, 255)
    table = np.stack([hue, lightness, saturation], axis=-1).astype(np.uint8)[None]
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HLS), table), cv2.COLOR_HLS2RGB)
