"""Pixels on their way into a batch: ImageNet's colours, and a uint8 crop as normalised float32. NumPy and OpenCV."""

import cv2
import numpy as np
from numpy.typing import NDArray

from serve.artifact import InputSpec

# ImageNet's, so that pretrained weights fit; for one channel their averages.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)


class Normalise:
    """Writes uint8 crops into a batch: `normalise(crop, row)`; exactly the numbers of preprocess.to_tensor."""

    def __init__(self, spec: InputSpec) -> None:
        mean, std = np.array(spec.mean, np.float32)[:, None], np.array(spec.std, np.float32)[:, None]
        # A channel has 256 values, so a table has them all; faster than arithmetic on a transposed view.
        self._tables = (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std

    def __call__(self, crop: NDArray[np.uint8], row: NDArray[np.float32]) -> None:
        """Fill `row`, float32 (C, H, W), with the crop, uint8 (H, W, C); any strides."""
        for plane, table, out in zip(cv2.split(crop), self._tables, row, strict=True):
            cv2.LUT(plane, table, dst=out)
