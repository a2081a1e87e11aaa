"""Per-pixel metrics from a confusion matrix: mIOU and pixel accuracy. NumPy only."""

import numpy as np
from numpy.typing import NDArray

from train.semantic_segmentation.masks import IGNORE

Matrix = NDArray[np.int64]
"""A confusion matrix, int64 (K, K)."""


def confusion(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return int64 (classes, classes): the number of pixels by true class (row) and predicted class (column).

    Both masks are uint8 class ids, 0 to `classes` - 1, of the same shape. Pixels whose truth is IGNORE do not count.
    """
    known = truth != IGNORE
    pairs = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Return the fraction of the counted pixels whose class is right; 0 if no pixel counts."""
    return float(np.trace(matrix) / max(matrix.sum(), 1))


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the intersection over union of each class, float64 (classes,); NaN for a class without any pixels.

    Everingham et al. 2015, section 6.3.1: TP / (TP + FP + FN), over the pixels of the whole set.
    """
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    return np.divide(np.diag(matrix), union, out=np.full(len(matrix), np.nan), where=union > 0)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Return the mean over all classes. A class without pixels counts as 0, as in GluonCV's SegmentationMetric."""
    return float(np.nan_to_num(iou(matrix)).mean())


def occurring(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the true classes of the counted pixels, int64, ascending."""
    return np.flatnonzero(matrix.sum(axis=1))


def mean_iou_of_occurring(matrix: NDArray[np.int64]) -> float:
    """Return the mean over the classes that occur in the truth; 0 if none does."""
    classes = occurring(matrix)
    return float(iou(matrix)[classes].mean()) if len(classes) else 0.0
