"""The gate: whether an int8 graph answers so much like its float one that it may serve. Pure functions of answers.

Answers are those of the server's code (serve.tasks, `evaluated`), one array for each photo: probabilities (classes,),
detections (d, 6) or a mask, uint8 (H, W).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import CLASSIFICATION, DETECTION

PHOTOS = 50
"""Agreement on fewer is chance."""
SURE, SAME, SHIFT = 0.1, 0.98, 0.05
"""Of classifiers: an answer counts from this margin on; the share that must be the same; most that one may move."""
SCORE, OVERLAP, FOUND = 0.3, 0.75, 0.95
"""Of detectors: a box counts from this score on; the IoU that finds it again; the share that must be found."""
PIXELS = 0.99
"""Of segmenters: the share of pixels that must have the same class."""

_ROUNDING = 1e-9  # 0.01 x 100 photos is one photo

Answers = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Agreement:
    """One comparison of all answers: `value`, of `count` of them, must be at least `limit`, or `at_most`.

    A value of nothing, with a `count` of 0, shows nothing and does not pass.
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
    """The metric of both graphs on the same `photos` of the validation data: accuracy, mAP or mIOU."""

    float32: float
    int8: float
    photos: int
    tolerance: float

    @property
    def lost(self) -> float:
        """Right answers lost minus right answers gained; of a mean over classes, as many photos as it is worth."""
        return (self.float32 - self.int8) * self.photos

    @property
    def limit(self) -> float:
        """Most that may be lost: one right answer, or the tolerance's share of the photos where that is more."""
        return max(1.0, self.tolerance * self.photos)

    @property
    def passed(self) -> bool:
        """Whether no more is lost. A metric that is not a number does not pass."""
        return self.lost <= self.limit + _ROUNDING

    def __str__(self) -> str:
        lost = round(self.lost, 1) + 0.0  # never -0.0
        return (
            f"validation score {self.int8:.4f} for {self.float32:.4f}, {lost:.1f} of {self.photos} right answers lost "
            f"(at most {self.limit:g})"
        )


def agreements(task: str, before: Answers, after: Answers, several: bool = False) -> tuple[Agreement, ...]:
    """Compare the float graph's answers, `before`, with the int8 graph's `after`.

    `several`: of a classifier, an image may have several labels, each with a probability of its own.
    """
    if task == CLASSIFICATION:
        return _labels(before, after) if several else _classes(before, after)
    return (_boxes(before, after),) if task == DETECTION else (_pixels(before, after),)


def _classes(before: Answers, after: Answers) -> tuple[Agreement, ...]:
    """The most probable class, where the float graph is sure of it, and how much its probability moves."""
    old, new = np.stack(before), np.stack(after)
    best, rows = old.argmax(axis=1), np.arange(len(old))
    ranked = np.sort(old, axis=1)
    sure = ranked[:, -1] - (ranked[:, -2] if old.shape[1] > 1 else 0) >= SURE
    return _same(new.argmax(axis=1) == best, sure, np.abs(new[rows, best] - old[rows, best]))


def _labels(before: Answers, after: Answers) -> tuple[Agreement, ...]:
    """Each label above 0.5 or not, where the float graph is sure, that is 0.05 or more away from 0.5."""
    old, new = np.stack(before).ravel(), np.stack(after).ravel()
    return _same((old > 0.5) == (new > 0.5), np.abs(2 * old - 1) >= SURE, np.abs(old - new))


def _same(same: NDArray[np.bool_], sure: NDArray[np.bool_], moved: NDArray[np.float32]) -> tuple[Agreement, ...]:
    share = float(same[sure].mean()) if sure.any() else 0.0
    return (
        Agreement("same answers where float is sure", share, SAME, int(sure.sum())),
        Agreement("probabilities moved by", float(moved.mean()), SHIFT, len(moved), at_most=True),
    )


def _boxes(before: Answers, after: Answers) -> Agreement:
    found = [
        bool((_overlaps(box[2:], new[new[:, 0] == box[0], 2:]) >= OVERLAP).any())
        for old, new in zip(before, after, strict=True)
        for box in old[old[:, 1] >= np.float32(SCORE)]
    ]
    return Agreement("boxes found again", float(np.mean(found)) if found else 0.0, FOUND, len(found))


def _overlaps(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of a box (4,), corners, with each of `others` (n, 4): float32 (n,), 0 where neither has an area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.maximum(sides, 0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common
    overlaps: NDArray[np.float32] = common / np.maximum(union, np.finfo(np.float32).tiny)
    return overlaps


def _pixels(before: Answers, after: Answers) -> Agreement:
    same = sum(int((old == new).sum()) for old, new in zip(before, after, strict=True))
    count = sum(mask.size for mask in before)
    return Agreement("same pixels", same / count if count else 0.0, PIXELS, count)
