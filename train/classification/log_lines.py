"""Log lines of the classifiers of both frameworks during training."""

import numpy as np
from numpy.typing import NDArray

from train.epoch import Epoch
from train.learner import Best, Evaluated, Lines
from train.log import LOG


class ClassifierLines(Lines[NDArray[np.float64]]):
    """Logs the same lines as the built-in. If `top_k` is None, there is no top-k accuracy."""

    every = 20  # the built-in's Speedometer
    first = 0

    def __init__(self, top_k: int | None) -> None:
        self._top_k = top_k

    def speed(self, epoch: Epoch, learning_rate: float) -> None:
        """Log the training speed."""
        LOG.info(
            "Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec\taccuracy=%f\ttime left: %s",
            epoch.number,
            epoch.count - 1,
            epoch.recent_rate(),
            epoch.mean("accuracy"),
            epoch.time_left,
        )

    def trained(self, epoch: Epoch) -> None:
        """Log the training metrics of an epoch."""
        LOG.info("Epoch[%d] Train-accuracy=%f", epoch.number, epoch.metrics["accuracy"])
        if self._top_k:
            value = epoch.metrics[f"top_k_accuracy_{self._top_k}"]
            LOG.info("Epoch[%d] Train-top_k_accuracy_%d=%f", epoch.number, self._top_k, value)
        LOG.info("Epoch[%d] Time cost=%.3f", epoch.number, epoch.seconds)

    def evaluated(self, epoch: Epoch, result: Evaluated[NDArray[np.float64]], seconds: float) -> None:
        """Log the validation metrics of an epoch."""
        LOG.info("Epoch[%d] Validation-accuracy=%f", epoch.number, result.metrics["accuracy"])
        if self._top_k:
            value = result.metrics[f"top_k_accuracy_{self._top_k}"]
            LOG.info("Epoch[%d] Validation-top_k_accuracy_%d=%f", epoch.number, self._top_k, value)

    def improved(self, best: Best[NDArray[np.float64]]) -> None:
        """Log that an epoch is the best so far."""
        LOG.info("Storing the best model with validation accuracy: %f", best.value)
