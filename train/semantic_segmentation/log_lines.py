"""Log lines of semantic-segmentation, the same as the built-in's."""

from collections.abc import Sequence
from pathlib import Path

from train.epoch import Epoch
from train.learner import Best, Evaluated, Lines
from train.log import LOG
from train.semantic_segmentation.metrics import Matrix, iou, occurring


class SegmentationLines(Lines[Matrix]):
    """Logs the lines of a job on `host` with `epochs` epochs and `photos` validation photos."""

    every = 20

    def __init__(self, host: str, epochs: int, photos: int, class_names: Sequence[str]) -> None:
        self._host, self._epochs, self._photos, self._names = host, epochs, photos, class_names

    def started(self, batches: int) -> None:
        """Log the schedule when training begins."""
        LOG.info("LRScheduler setup: iters per epoch: %d, num_epochs %d", batches, self._epochs)

    def speed(self, epoch: Epoch, learning_rate: float) -> None:
        """Log the training speed."""
        LOG.info(
            "#progress_notice. epoch: %d, iterations: %d speed: %r samples/sec learning_rate: %f",
            epoch.number,
            epoch.count,
            epoch.rate,
            learning_rate,
        )
        LOG.info("time left: %s", epoch.time_left)

    def trained(self, epoch: Epoch) -> None:
        """Log the training metrics of an epoch."""
        loss, rate = epoch.metrics["loss"], epoch.metrics["throughput"]
        LOG.info("#quality_metric. host: %s, epoch: %d, train loss: %r .", self._host, epoch.number, loss)
        LOG.info(
            "#throughput_metric. host: %s, epoch: %d, train throughput: %r samples/sec.", self._host, epoch.number, rate
        )

    def evaluated(self, epoch: Epoch, result: Evaluated[Matrix], seconds: float) -> None:
        """Log the validation metrics of an epoch."""
        LOG.info(
            "#quality_metric. host: %s, epoch: %d, validation pixel_accuracy: %r .",
            self._host,
            epoch.number,
            result.metrics["pixel_accuracy"],
        )
        LOG.info("#quality_metric. host: %s, epoch: %d, validation mIOU: %r .", self._host, epoch.number, result.value)
        LOG.info(
            "#throughput_metric. host: %s, epoch: %d, validation throughput: %r samples/sec.",
            self._host,
            epoch.number,
            self._photos / seconds,
        )

    def saved(self, path: Path, epoch: int) -> None:
        """Log that weights were written."""
        LOG.info("Serializing model to %s", path)

    def ended(self, epoch: Epoch) -> None:
        """Log the progress at the end of an epoch."""
        done = 100 * (epoch.number + 1) // self._epochs
        LOG.info("#progress_metric: host=%s, completed %d %% of epochs", self._host, done)

    def saved_last(self, path: Path) -> None:
        """Log that the weights after the last epoch were written."""
        LOG.info("Serializing model to %s", path)

    def exported(self, best: Best[Matrix], metrics: dict[str, float]) -> None:
        """Log the metrics of the best epoch after its export."""
        ious = ", ".join(f"{name} {value:.4f}" for name, value in zip(self._names, iou(best.kept), strict=True))
        LOG.info(
            "The best epoch is %d: mIOU %.6f over %d classes, %.6f over the %d that occur, "
            "pixel accuracy %.6f; IOU: %s",
            best.epoch,
            best.value,
            len(self._names),
            metrics["validation:mIOU_occurring"],
            len(occurring(best.kept)),
            best.metrics["validation:pixel_accuracy"],
            ious,
        )

    def finished(self, best: Best[Matrix], folder: Path, names: str) -> None:
        """Log the contents of the checked model folder."""
        LOG.info("The model of epoch %d is in %s: %s", best.epoch, folder, names)
