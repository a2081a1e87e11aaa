"""Average precision of detections, as PASCAL VOC defines it, at one overlap. NumPy only.

Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, section 4.2. Boxes are continuous, a box
from 0 to 10 being 10 wide, unless the far edge is counted, as VOC's own program does, which takes it for 11. Detections
of equal score count in the order of the photos.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.object_detection.boxes import Real, overlaps

OVERLAP = 0.5
"""Intersection over union from which on a detection has found a box."""

LEVELS = tuple(level / 10 for level in range(11))
"""VOC 2007's levels of recall. Three of ten boxes found reach 3 / 10, which 3 * 0.1 is a little more than."""


@dataclass(frozen=True)
class Matches:
    """The detections of one class on all photos, by falling score, and how many true boxes there are to be found.

    `scores` is float64 (d,); `hits` is bool (d,): whether the detection is the first one to find its true box.
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
    """Compare photo by photo, and return the matches of classes 0 to `classes` - 1.

    `truths` are (n, 5) arrays [class, xmin, ymin, xmax, ymax], `detections` (d, 6) arrays [class, score, xmin, ymin,
    xmax, ymax], one of each per photo, in the same unit. A detection belongs to the true box of its class that it
    overlaps most; of several detections of a box only the one with the highest score is a hit. `far_edge` is added to
    the right and lower edges of all boxes: 1 counts pixels, the last one included.
    """
    edges = np.array([0, 0, far_edge, far_edge], np.float32)
    scores: list[list[NDArray[np.float64]]] = [[] for _ in range(classes)]
    hits: list[list[NDArray[np.bool_]]] = [[] for _ in range(classes)]
    totals = [0] * classes
    for truth, found in zip(truths, detections, strict=True):
        for label in np.unique(np.concatenate([truth[:, 0], found[:, 0]])).astype(int):
            true = truth[truth[:, 0] == label, 1:]
            mine = found[found[:, 0] == label, 1:]
            mine = mine[np.argsort(-mine[:, 0], kind="stable")]
            scores[label].append(mine[:, 0].astype(np.float64))
            hits[label].append(_hits(overlaps(mine[:, 1:] + edges, true + edges), overlap))
            totals[label] += len(true)
    return [_by_score(*of_class) for of_class in zip(scores, hits, totals, strict=True)]


def voc07(matches: Matches, levels: Iterable[float] = LEVELS) -> float:
    """Return the mean over the levels of recall of the best precision there or above; NaN without a true box."""
    if matches.total == 0:
        return float("nan")
    found = np.cumsum(matches.hits)
    precision, recall = found / np.arange(1, len(found) + 1), found / matches.total
    best = [float(precision[recall >= level].max(initial=0.0)) for level in levels]
    return sum(best) / len(best)


def area_under_curve(matches: Matches) -> float:
    """Return the area under the curve of precision over recall, as of VOC 2010; NaN without a true box."""
    if matches.total == 0:
        return float("nan")
    precision = np.cumsum(matches.hits) / np.arange(1, len(matches.hits) + 1)
    # From the right, the best precision at that recall or above; each hit is a step of recall.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[matches.hits].sum()) / matches.total


def mean(matches: Sequence[Matches], precision: Callable[[Matches], float] = voc07) -> float:
    """Return the mean of `precision` over the classes that have true boxes; NaN when none has."""
    values = [precision(one) for one in matches if one.total]
    return sum(values) / len(values) if values else float("nan")


def _by_score(scores: list[NDArray[np.float64]], hits: list[NDArray[np.bool_]], total: int) -> Matches:
    score = np.concatenate([np.zeros(0), *scores])
    order = np.argsort(-score, kind="stable")
    return Matches(score[order], np.concatenate([np.zeros(0, bool), *hits])[order], total)


def _hits(shares: NDArray[Real], least: float) -> NDArray[np.bool_]:
    """Return which of a photo's detections (rows, by falling score) are the first to find their true box (columns)."""
    hits = np.zeros(len(shares), bool)
    if shares.shape[1] == 0:
        return hits
    best = shares.argmax(axis=1)
    close = shares.max(axis=1) >= least
    _, first = np.unique(best[close], return_index=True)
    hits[np.flatnonzero(close)[first]] = True
    return hits
