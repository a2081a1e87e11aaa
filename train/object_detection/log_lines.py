"""Log lines of object-detection, the same as the built-in's."""

import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.epoch import Epoch
from train.learner import Best, Evaluated, Lines
from train.log import LOG

Detections = list[NDArray[np.float32]]
"""The detections, float32 (d, 6), on each validation photo."""


class DetectionLines(Lines[Detections]):
    """Logs the lines of a job on `host` with `epochs` epochs."""

    every = 100

    def __init__(self, host: str, epochs: int) -> None:
        self._host, self._epochs = host, epochs

    def speed(self, epoch: Epoch, learning_rate: float) -> None:
        """Log the training speed."""
        seconds = epoch.seconds
        LOG.info(
            "Epoch: %4d, batches: %6d, num_examples: %6d, %.1f samples/sec, epoch time so far:  %s",
            epoch.number,
            epoch.count,
            epoch.samples,
            epoch.samples / seconds,
            datetime.timedelta(seconds=seconds),
        )
        LOG.info("time left: %s", epoch.time_left)

    def trained(self, epoch: Epoch) -> None:
        """Log the training metrics of an epoch."""
        LOG.info(
            "#quality_metric: host=%s, epoch=%d, batch=%d train cross_entropy <loss>=(%r)",
            self._host,
            epoch.number,
            epoch.count,
            epoch.metrics["cross_entropy"],
        )
        LOG.info(
            "#quality_metric: host=%s, epoch=%d, batch=%d train smooth_l1 <loss>=(%r)",
            self._host,
            epoch.number,
            epoch.count,
            epoch.metrics["smooth_l1"],
        )
        LOG.info("Round of batches complete")

    def evaluated(self, epoch: Epoch, result: Evaluated[Detections], seconds: float) -> None:
        """Log the validation metrics of an epoch."""
        LOG.info("Updated the metrics")
        LOG.info(
            "#quality_metric: host=%s, epoch=%d, validation mAP <score>=(%r)", self._host, epoch.number, result.value
        )

    def improved(self, best: Best[Detections]) -> None:
        """Log that an epoch is the best so far."""
        LOG.info("Updating the best model with validation-mAP=%r", best.value)

    def saved(self, path: Path, epoch: int) -> None:
        """Log that weights were written."""
        LOG.info('Saved checkpoint to "%s"', path)

    def ended(self, epoch: Epoch) -> None:
        """Log the progress at the end of an epoch."""
        done = 100 * (epoch.number + 1) // self._epochs
        LOG.info("#progress_metric: host=%s, completed %d %% of epochs", self._host, done)
        rate = epoch.metrics["throughput"]
        LOG.info("#throughput_metric: host=%s, train throughput=%r records/second", self._host, rate)

    def exported(self, best: Best[Detections], metrics: dict[str, float]) -> None:
        """Log the metrics of the best epoch after its export."""
        area = metrics["validation:mAP_area"]
        LOG.info("The best epoch is %d: mAP %.6f (VOC 2007), %.6f (area)", best.epoch, best.value, area)

    def finished(self, best: Best[Detections], folder: Path, names: str) -> None:
        """Log the contents of the checked model folder."""
        LOG.info("The model of epoch %d is in %s: %s", best.epoch, folder, names)

    def succeeded(self) -> None:
        """Log the last line of a successful job."""
        LOG.info("Test data is not provided.")
