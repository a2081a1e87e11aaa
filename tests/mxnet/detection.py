"""Helpers for the tests of object-detection: checked hyperparameters, random boxes, and a batch of pictures."""

from typing import Any

import numpy as np

from tests.mxnet.networks import pictures
from train.object_detection.hyperparameters import Hyperparameters, check
from train.object_detection.targets import assign


def hyperparameters(**changes: Any) -> Hyperparameters:
    """Return the checked hyperparameters of a small job."""
    values = {"num_classes": 2, "num_training_samples": 8, "use_pretrained_model": 0, "base_network": "resnet-18"}
    return check({name: str(value) for name, value in (values | changes).items()})


def drawn_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return boxes of 20 classes, float32 (count, 5): class, xmin, ymin, xmax, ymax in fractions of the picture."""
    centre, size = rng.uniform(0.1, 0.9, (count, 2)), rng.uniform(0.03, 0.6, (count, 2))
    corners = np.clip(np.hstack([centre - size / 2, centre + size / 2]), 0, 1)
    return np.hstack([rng.integers(0, 20, (count, 1)), corners]).astype(np.float32)


def batch(side: int, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return four pictures of noise with one box each, and the targets for their classes and boxes."""
    boxes = [np.array([[i % 2, 0.1 + 0.1 * i, 0.2, 0.5 + 0.1 * i, 0.7]], np.float32) for i in range(4)]
    classes, offsets = zip(*(assign(anchors, box) for box in boxes), strict=True)
    return pictures(side, 4), np.stack(classes), np.stack(offsets)
