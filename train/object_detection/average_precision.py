"""Average precision of detections, as PASCAL VOC 2007 defines it: at 11 levels of recall, at one overlap.

Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, section 4.2. Boxes are continuous: a box
from 0 to 10 is 10 wide, where VOC's own program, which counts pixels, takes it for 11. Detections of equal score count
in the order of the photos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.object_detection.boxes import overlaps

OVERLAP = 0.5
"""Intersection over union from which on a detection has found a box."""


@dataclass(frozen=True)
class Matches:
    """The detections of one class on all photos, by falling score, and how many true boxes there are to be found.

    `scores` is float64 (d,); `hits` is bool (d,): whether the detection is the first one to find its true box.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    total: int


def match(
    truths: Sequence[NDArray[np.float64]],
    detections: Sequence[NDArray[np.float64]],
    classes: int,
    overlap: float = OVERLAP,
) -> list[Matches]:
    """Compare photo by photo, and return the matches of classes 0 to `classes` - 1.

    `truths` are (n, 5) arrays [class, xmin, ymin, xmax, ymax], `detections` (d, 6) arrays [class, score, xmin, ymin,
    xmax, ymax], one of each per photo, in the same unit. A detection belongs to the true box of its class that it
    overlaps most; of several detections of a box only the one with the highest score is a hit.
    """
    return [_match_class(truths, detections, label, overlap) for label in range(classes)]


def voc07(matches: Matches) -> float:
    """Mean over recall 0, 0.1, ... 1 of the best precision at that recall or above; NaN without a true box."""
    if matches.total == 0:
        return float("nan")
    found = np.cumsum(matches.hits)
    precision = found / np.arange(1, len(found) + 1)
    # In whole numbers: 3 of 10 found is a recall of 0.3, which 3 * 0.1 is not.
    reached = (precision[10 * found >= level * matches.total] for level in range(11))
    return sum(float(best.max(initial=0.0)) for best in reached) / 11


def mean(matches: Sequence[Matches]) -> float:
    """The mean of `voc07` over the classes that have true boxes; NaN when none has."""
    values = [voc07(one) for one in matches if one.total]
    return sum(values) / len(values) if values else float("nan")


def _match_class(
    truths: Sequence[NDArray[np.float64]], detections: Sequence[NDArray[np.float64]], label: int, overlap: float
) -> Matches:
    scores, hits, total = [], [], 0
    for truth, found in zip(truths, detections, strict=True):
        true = truth[truth[:, 0] == label, 1:]
        mine = found[found[:, 0] == label, 1:]
        mine = mine[np.argsort(-mine[:, 0], kind="stable")]
        scores.append(mine[:, 0])
        hits.append(_hits(overlaps(mine[:, 1:], true), overlap))
        total += len(true)
    score = np.concatenate([np.zeros(0), *scores])
    order = np.argsort(-score, kind="stable")
    return Matches(score[order], np.concatenate([np.zeros(0, bool), *hits])[order], total)


def _hits(shares: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """Which of a photo's detections (rows, by falling score) are the first to find their true box (columns)."""
    hits = np.zeros(len(shares), bool)
    if shares.shape[1] == 0:
        return hits
    best = shares.argmax(axis=1)
    close = shares.max(axis=1) >= least
    _, first = np.unique(best[close], return_index=True)
    hits[np.flatnonzero(close)[first]] = True
    return hits
