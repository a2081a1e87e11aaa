"""The gate: decide whether an int8 graph's predictions are close enough to the float graph's. Pure functions.

The predictions come from the serving code (serve.tasks, `evaluated`), one array per photo: probabilities (classes,),
detections (d, 6) or a mask, uint8 (H, W).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import CLASSIFICATION, DETECTION

MIN_PHOTOS = 50
"""With fewer photos, agreement may be accidental."""
MIN_MARGIN, MIN_SAME, MAX_SHIFT = 0.1, 0.98, 0.05
"""Classifiers: the smallest margin of a prediction that counts, the share that must agree, and the largest mean shift
of a probability."""
MIN_SCORE, MIN_IOU, MIN_FOUND = 0.3, 0.75, 0.95
"""Detectors: the lowest score of a box that counts, the IoU for a match, and the share that must have a match."""
MIN_SAME_PIXELS = 0.99
"""Segmenters: the share of pixels that must have the same class."""

_ROUNDING = 1e-9  # so that 0.01 of 100 photos is one photo

Predictions = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Agreement:
    """A comparison of `count` predictions: `value` must be at least `limit`, or with `at_most`, at most `limit`.

    A `count` of 0 does not pass, because it shows nothing.
    """

    what: str
    value: float
    limit: float
    count: int
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit."""
        within = self.value <= self.limit + _ROUNDING if self.at_most else self.value >= self.limit - _ROUNDING
        return self.count > 0 and within

    def __str__(self) -> str:
        return (
            f"{self.what} {self.value:.4f} (of {self.count}; at {'most' if self.at_most else 'least'} {self.limit:g})"
        )


@dataclass(frozen=True)
class Score:
    """The metrics of both graphs on the same validation photos: accuracy, mAP or mIOU. `photos` is their number."""

    float32: float
    int8: float
    photos: int
    tolerance: float

    @property
    def lost(self) -> float:
        """The net loss of correct predictions. For a mean over classes, the loss times the number of photos."""
        return (self.float32 - self.int8) * self.photos

    @property
    def limit(self) -> float:
        """The largest allowed loss: one correct prediction or the tolerance times the number of photos, if greater."""
        return max(1.0, self.tolerance * self.photos)

    @property
    def passed(self) -> bool:
        """Whether the loss is within the limit. A NaN does not pass."""
        return self.lost <= self.limit + _ROUNDING

    def __str__(self) -> str:
        lost = round(self.lost, 1) + 0.0  # never -0.0
        return (
            f"validation score {self.int8:.4f} instead of {self.float32:.4f}, {lost:.1f} of {self.photos} correct "
            f"predictions lost (at most {self.limit:g})"
        )


def agreements(task: str, before: Predictions, after: Predictions, multi_label: bool = False) -> tuple[Agreement, ...]:
    """Compare the float graph's predictions, `before`, with the int8 graph's, `after`.

    With `multi_label`, a classifier predicts an independent probability for each label.
    """
    if task == CLASSIFICATION:
        return _labels(before, after) if multi_label else _classes(before, after)
    return (_boxes(before, after),) if task == DETECTION else (_pixels(before, after),)


def _classes(before: Predictions, after: Predictions) -> tuple[Agreement, ...]:
    """Compare the most probable class if the float graph is confident, and the shift of its probability."""
    old, new = np.stack(before), np.stack(after)
    best, rows = old.argmax(axis=1), np.arange(len(old))
    ranked = np.sort(old, axis=1)
    confident = ranked[:, -1] - (ranked[:, -2] if old.shape[1] > 1 else 0) >= MIN_MARGIN
    return _same(new.argmax(axis=1) == best, confident, np.abs(new[rows, best] - old[rows, best]))


def _labels(before: Predictions, after: Predictions) -> tuple[Agreement, ...]:
    """Compare whether each label's probability is above 0.5, if the float graph's is at least 0.05 away from it."""
    old, new = np.stack(before).ravel(), np.stack(after).ravel()
    return _same((old > 0.5) == (new > 0.5), np.abs(2 * old - 1) >= MIN_MARGIN, np.abs(old - new))


def _same(same: NDArray[np.bool_], confident: NDArray[np.bool_], moved: NDArray[np.float32]) -> tuple[Agreement, ...]:
    share = float(same[confident].mean()) if confident.any() else 0.0
    return (
        Agreement("same predictions where float is confident", share, MIN_SAME, int(confident.sum())),
        Agreement("probabilities moved by", float(moved.mean()), MAX_SHIFT, len(moved), at_most=True),
    )


def _boxes(before: Predictions, after: Predictions) -> Agreement:
    matched = [
        bool((_iou(box[2:], new[new[:, 0] == box[0], 2:]) >= MIN_IOU).any())
        for old, new in zip(before, after, strict=True)
        for box in old[old[:, 1] >= np.float32(MIN_SCORE)]
    ]
    return Agreement("boxes found again", float(np.mean(matched)) if matched else 0.0, MIN_FOUND, len(matched))


def _iou(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU, float32 (n,), of a box (4,) with each of `others` (n, 4), as corners; 0 if both areas are 0."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersection = np.maximum(sides, 0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - intersection
    iou: NDArray[np.float32] = intersection / np.maximum(union, np.finfo(np.float32).tiny)
    return iou


def _pixels(before: Predictions, after: Predictions) -> Agreement:
    same = sum(int((old == new).sum()) for old, new in zip(before, after, strict=True))
    count = sum(mask.size for mask in before)
    return Agreement("same pixels", same / count if count else 0.0, MIN_SAME_PIXELS, count)
