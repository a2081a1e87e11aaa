"""What the tests of semantic-segmentation share: checked hyperparameters, drawn masks and photos that show them."""

from typing import Any

import numpy as np
from PIL import Image

from tests.mxnet.networks import pictures
from train.semantic_segmentation.hyperparameters import Hyperparameters, check
from train.semantic_segmentation.masks import IGNORE

LEVELS = np.array([30, 130, 230], np.uint8)
"""The grey of each class in drawn photos, so that a mask can be told from its photo."""


def hyperparameters(**changes: Any) -> Hyperparameters:
    """Return the checked hyperparameters of a small job."""
    values = {"num_classes": 3, "num_training_samples": 8, "use_pretrained_model": 0, "backbone": "resnet-18"}
    return check({name: str(value) for name, value in (values | changes).items()})


def patches(rng: np.random.Generator, width: int, height: int, classes: int = 3) -> np.ndarray:
    """Return a mask uint8 (height, width) of large patches."""
    coarse = rng.integers(0, classes, (3, 4)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


def photo_of(mask: np.ndarray) -> np.ndarray:
    """Return the grey photo uint8 (H, W, 3) that shows a mask."""
    return np.repeat(LEVELS[mask][..., None], 3, axis=2)


def inner(mask: np.ndarray) -> np.ndarray:
    """Return bool (H, W): where a mask is known, and the same for two pixels around."""
    same = mask != IGNORE
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            same &= np.roll(mask, shift, axis) == mask
    return same


def wrong(photo: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the pixels of a grey photo, away from edges, whose grey is not that of their class."""
    where = inner(mask)
    seen = np.abs(photo[..., :1].astype(int) - LEVELS.astype(int)).argmin(axis=2)
    return float((seen != mask)[where].mean()) if where.any() else 0.0


def batch(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return four pictures of noise, brighter where their class is not 0, and their labels with a border to ignore."""
    labels = np.zeros((4, side, side), np.float32)
    for index in range(4):
        labels[index, 8 * index : 8 * index + side // 3, 10 : 10 + side // 2] = 1 + index % 2
    images = pictures(side, 4) * 0.2 + labels[:, None]
    labels[:, :2] = -1
    return images.astype(np.float32), labels
