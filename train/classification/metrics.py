"""Metrics of classifiers, on NumPy arrays.

`probabilities` is float32 (N, K). `labels` is int64 (N,) with one class per sample, or for multi-label float32 (N, K)
of zeros and ones. Each function returns one value per sample; the mean over a subset is the subset's metric.
"""

from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64] | NDArray[np.float32]
"""Class ids (N,), or zeros and ones (N, K)."""


def one_class_each(labels: Labels) -> TypeGuard[NDArray[np.int64]]:
    """Return whether each sample has exactly one class."""
    return labels.ndim == 1


def correct(probabilities: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    """Return float64 (N,): 1.0 if the most probable class is the label, else 0.0.

    For multi-label it is the fraction of the K labels that are right at a threshold of 0.5.
    """
    if not one_class_each(labels):
        return ((probabilities > 0.5) == (labels > 0.5)).mean(axis=1)
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def top_k_correct(probabilities: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return float64 (N,): 1.0 if the label is among the `k` most probable classes, else 0.0. Ties favour the label."""
    own = probabilities[np.arange(len(labels)), labels]
    return ((probabilities > own[:, None]).sum(axis=1) < k).astype(np.float64)
