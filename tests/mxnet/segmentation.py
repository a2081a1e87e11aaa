"""Helpers for the tests of semantic-segmentation: checked hyperparameters, random masks, and matching photos."""

from typing import Any

import numpy as np
from PIL import Image

from tests.mxnet.networks import pictures
from train.semantic_segmentation.hyperparameters import Hyperparameters, check
from train.semantic_segmentation.masks import IGNORE

LEVELS = np.array([30, 130, 230], np.uint8)
"""The grey level of each class in drawn photos, so a photo shows its mask."""


def hyperparameters(**changes: Any) -> Hyperparameters:
    """Return the checked hyperparameters of a small job."""
    values = {"num_classes": 3, "num_training_samples": 8, "use_pretrained_model": 0, "backbone": "resnet-18"}
    return check({name: str(value) for name, value in (values | changes).items()})


def patches(rng: np.random.Generator, width: int, height: int, classes: int = 3) -> np.ndarray:
    """Return a mask of large patches, uint8 (height, width)."""
    coarse = rng.integers(0, classes, (3, 4)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


def photo_of(mask: np.ndarray) -> np.ndarray:
    """Return a grey photo that shows a mask, uint8 (H, W, 3)."""
    return np.repeat(LEVELS[mask][..., None], 3, axis=2)


def away_from_edges(mask: np.ndarray) -> np.ndarray:
    """Return where a mask has a class and does not change within two pixels, bool (H, W)."""
    same = mask != IGNORE
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            same &= np.roll(mask, shift, axis) == mask
    return same


def wrong_share(photo: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of pixels in a grey photo, except near edges, that do not have the grey level of their class."""
    where = away_from_edges(mask)
    seen = np.abs(photo[..., :1].astype(int) - LEVELS.astype(int)).argmin(axis=2)
    return float((seen != mask)[where].mean()) if where.any() else 0.0


def batch(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return four pictures of noise that are brighter where the class is not 0, and labels with an ignored border."""
    labels = np.zeros((4, side, side), np.float32)
    for index in range(4):
        labels[index, 8 * index : 8 * index + side // 3, 10 : 10 + side // 2] = 1 + index % 2
    images = pictures(side, 4) * 0.2 + labels[:, None]
    labels[:, :2] = -1
    return images.astype(np.float32), labels
