"""Metrics of classifiers, on NumPy arrays.

`probabilities` is float32 (N, K); `labels` is int64 (N,) for one class a sample, float32 (N, K) of 0 and 1 for
multi-label. Each function returns one value per sample, so that any subset's mean is the subset's metric.
"""

from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64] | NDArray[np.float32]
"""(N,) class ids, or (N, K) of 0 and 1."""


def one_class_each(labels: Labels) -> TypeGuard[NDArray[np.int64]]:
    """Return whether a sample has one class, not several."""
    return labels.ndim == 1


def correct(probabilities: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    """Return float64 (N,): 1.0 where the most probable class is the label; multi-label: the share of the K labels
    that the threshold 0.5 gets right."""
    if not one_class_each(labels):
        return ((probabilities > 0.5) == (labels > 0.5)).mean(axis=1)
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def top_k_correct(probabilities: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return float64 (N,): 1.0 where the label is among the `k` most probable classes.

    Fewer than `k` classes are more probable than the label: ties count for the label.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return ((probabilities > own[:, None]).sum(axis=1) < k).astype(np.float64)
