"""Convert uint8 crops to float32, normalised with ImageNet's statistics. NumPy and OpenCV."""

import cv2
import numpy as np
from numpy.typing import NDArray

from serve.artifact import InputSpec

# ImageNet's, to match pretrained weights. The values for grey images are the averages of the three channels.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)


class Normalise:
    """Writes normalised uint8 crops into a batch. The numbers are exactly those of preprocess.to_tensor."""

    def __init__(self, spec: InputSpec) -> None:
        mean, std = np.array(spec.mean, np.float32)[:, None], np.array(spec.std, np.float32)[:, None]
        # A table of all 256 pixel values is faster than arithmetic on a transposed view.
        self._tables = (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std

    def __call__(self, crop: NDArray[np.uint8], row: NDArray[np.float32]) -> None:
        """Fill `row`, float32 (C, H, W), from `crop`, uint8 (H, W, C), with any strides."""
        for plane, table, out in zip(cv2.split(crop), self._tables, row, strict=True):
            cv2.LUT(plane, table, dst=out)
