"""Average precision of detections at one overlap, as defined by PASCAL VOC. NumPy only.

Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, section 4.2. Box coordinates are
continuous: a box from 0 to 10 is 10 wide. With `far_edge` it is 11 wide, as in VOC's program. Detections with equal
scores are ranked in the order of the photos.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.object_detection.boxes import Real, overlaps

OVERLAP = 0.5
"""The minimum intersection over union of a detection and the ground truth box it matches."""

LEVELS = tuple(level / 10 for level in range(11))
"""VOC 2007's recall levels. Computed by division because 3 * 0.1 is slightly more than 3 / 10."""


@dataclass(frozen=True)
class Matches:
    """The detections of one class on all photos, by descending score, and the total number of ground truth boxes.

    `scores` is float64 (d,). `hits` is bool (d,): whether the detection is the first to match its ground truth box.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    total: int


def match(
    truths: Sequence[NDArray[Real]],
    detections: Sequence[NDArray[Real]],
    classes: int,
    overlap: float = OVERLAP,
    far_edge: float = 0,
) -> list[Matches]:
    """Match detections to ground truth, photo by photo; return the matches of classes 0 to `classes` - 1.

    `truths` are arrays (n, 5) [class, xmin, ymin, xmax, ymax] and `detections` arrays (d, 6) [class, score, xmin, ymin,
    xmax, ymax], one of each per photo, in the same unit. A detection belongs to the ground truth box of its class that
    it overlaps most. Of several detections of a box, only the one with the highest score is a hit. `far_edge` is added
    to the right and lower edges of all boxes: 1 if coordinates are pixel indices and the last pixel is included.
    """
    edges = np.array([0, 0, far_edge, far_edge], np.float32)
    scores: list[list[NDArray[np.float64]]] = [[] for _ in range(classes)]
    hits: list[list[NDArray[np.bool_]]] = [[] for _ in range(classes)]
    totals = [0] * classes
    for truth, detected in zip(truths, detections, strict=True):
        for label in np.unique(np.concatenate([truth[:, 0], detected[:, 0]])).astype(int):
            true = truth[truth[:, 0] == label, 1:]
            rows = detected[detected[:, 0] == label, 1:]
            rows = rows[np.argsort(-rows[:, 0], kind="stable")]
            scores[label].append(rows[:, 0].astype(np.float64))
            hits[label].append(_hits(overlaps(rows[:, 1:] + edges, true + edges), overlap))
            totals[label] += len(true)
    return [_by_score(*of_class) for of_class in zip(scores, hits, totals, strict=True)]


def voc07(matches: Matches, levels: Iterable[float] = LEVELS) -> float:
    """Return the mean of the best precision at or above each recall level; NaN without ground truth boxes."""
    if matches.total == 0:
        return float("nan")
    hits = np.cumsum(matches.hits)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / matches.total
    best = [float(precision[recall >= level].max(initial=0.0)) for level in levels]
    return sum(best) / len(best)


def area_under_curve(matches: Matches) -> float:
    """Return the area under the precision-recall curve, as in VOC 2010; NaN without ground truth boxes."""
    if matches.total == 0:
        return float("nan")
    precision = np.cumsum(matches.hits) / np.arange(1, len(matches.hits) + 1)
    # The best precision at this recall or above, accumulated from the right. Each hit is one step of recall.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[matches.hits].sum()) / matches.total


def mean(matches: Sequence[Matches], precision: Callable[[Matches], float] = voc07) -> float:
    """Return the mean of `precision` over the classes that have ground truth boxes; NaN if none has."""
    values = [precision(of_class) for of_class in matches if of_class.total]
    return sum(values) / len(values) if values else float("nan")


def _by_score(scores: list[NDArray[np.float64]], hits: list[NDArray[np.bool_]], total: int) -> Matches:
    score = np.concatenate([np.zeros(0), *scores])
    order = np.argsort(-score, kind="stable")
    return Matches(score[order], np.concatenate([np.zeros(0, bool), *hits])[order], total)


def _hits(ious: NDArray[Real], min_iou: float) -> NDArray[np.bool_]:
    """Return which detections (rows, by descending score) are the first to match their ground truth box (columns)."""
    hits = np.zeros(len(ious), bool)
    if ious.shape[1] == 0:
        return hits
    best = ious.argmax(axis=1)
    close = ious.max(axis=1) >= min_iou
    _, first = np.unique(best[close], return_index=True)
    hits[np.flatnonzero(close)[first]] = True
    return hits
