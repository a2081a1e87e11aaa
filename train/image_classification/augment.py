"""The three augmentation types of the built-in, applied to one photo. NumPy and OpenCV.

- crop: random crop and horizontal flip.
- crop_color: also shift hue, saturation and lightness by up to 36, 50 and 50 on OpenCV's scales of 180, 255 and 255,
  clipped to the scale as in MXNet's augmenter.
- crop_color_transform: also rotate by up to 10 degrees, shear by up to 0.1, and change the aspect ratio by up to 0.25.

The ranges are from the built-in's hyperparameter table.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

TYPES = ("crop", "crop_color", "crop_color_transform")
_HUE, _SATURATION, _LIGHTNESS = 36, 50, 50
_DEGREES, _SHEAR, _ASPECT = 10.0, 0.1, 0.25

# There is already one input thread per CPU, so OpenCV's threads would only compete with them.
cv2.setNumThreads(0)


def augment(
    image: NDArray[np.uint8], height: int, width: int, kind: str | None, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return uint8 (height, width, C), cropped from a uint8 (H, W, C) photo with H >= height and W >= width.

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
    """Rotate, shear, stretch and crop in one interpolation. The photo is mirrored at its borders."""
    angle = np.deg2rad(rng.uniform(-_DEGREES, _DEGREES))
    shear = rng.uniform(-_SHEAR, _SHEAR)
    stretch = np.sqrt(1 + rng.uniform(-_ASPECT, _ASPECT))
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotate @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([stretch, 1 / stretch])
    # In the photo, the crop is a parallelogram. Its centre is random as long as the crop stays inside the photo.
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
