"""The training loop of object-detection: optimizer, one step, one epoch, evaluation, the best epoch kept."""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import mxnet as mx
import numpy as np
from gluoncv.loss import SSDMultiBoxLoss
from mxnet import autograd
from numpy.typing import NDArray

from train.data.samples import in_order
from train.divergence import Diverged
from train.early_stopping import EarlyStopping
from train.epoch import Batches, steps, time_left
from train.gluon.optimizer import create, step_schedule, trainer
from train.job import stop
from train.log import LOG, SILENCE, Pace, Progress
from train.object_detection import evaluation
from train.object_detection.data import Batch, Data
from train.object_detection.hyperparameters import Hyperparameters
from train.object_detection.network import Detector

SPEED_EVERY = 100  # batches, as the built-in
_EVALUATION_BATCH = 16
_LEAST_NEGATIVES = 3


@dataclass(frozen=True)
class Best:
    """The best epoch so far: its number from 0, its mAP and metrics, and its detections (d, 6) per validation photo.

    Before the first has ended it is epoch -1.
    """

    epoch: int = -1
    value: float = -1.0
    metrics: dict[str, float] = field(default_factory=dict)
    detections: list[NDArray[np.float32]] = field(default_factory=list)


Keep = Callable[[Best], None]


def optimizer(hp: Hyperparameters) -> mx.optimizer.Optimizer:
    """Return the optimizer that `hp` names, with its schedule; the built-in's others have no hyperparameters."""
    own: dict[str, float] = {
        "sgd": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "rmsprop": {"wd": hp.weight_decay},
        "adam": {},
        "adadelta": {},
    }[hp.optimizer]
    updates = -(-hp.num_training_samples // hp.mini_batch_size)  # of an epoch, as the built-in counts them
    return create(hp.optimizer, learning_rate=hp.learning_rate, lr_scheduler=step_schedule(hp, updates), **own)


class Step:
    """One update of the network: forward, hard negatives mined, backward, optimizer."""

    def __init__(self, net: Detector, hp: Hyperparameters) -> None:
        # Photos without boxes have no matched anchors to mine three times as many of: what they teach is this least.
        self._net, self._loss = net, SSDMultiBoxLoss(min_hard_negatives=_LEAST_NEGATIVES)
        self.trainer = trainer(net, optimizer(hp))

    def __call__(
        self, images: NDArray[np.float32], classes: NDArray[np.float32], boxes: NDArray[np.float32]
    ) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Update on float32 (N, 3, S, S), (N, A) and (N, A, 4); return cross-entropy and smooth L1 of each picture.

        Both are sums over a picture's anchors, divided by the batch's matched anchors; still under way.
        """
        x, wanted_classes, wanted_boxes = mx.nd.array(images), mx.nd.array(classes), mx.nd.array(boxes)
        with autograd.record():
            logits, offsets = self._net.predictor(x)
            total, cross_entropy, smooth_l1 = self._loss(logits, offsets, wanted_classes, wanted_boxes)
        autograd.backward(total)
        self.trainer.step(1)  # the loss is divided already
        return cross_entropy[0], smooth_l1[0]


class Epoch:
    """One pass over the training data, with the built-in's lines and the time left of the whole job."""

    def __init__(self, number: int, step: Step, batches: Batches[Batch], hp: Hyperparameters, job_start: float) -> None:
        self._number, self._step, self._batches, self._hp, self._job_start = number, step, batches, hp, job_start
        self._start = time.monotonic()
        self._losses: list[tuple[float, float]] = []
        self._pace = Pace(SPEED_EVERY)

    def run(self) -> dict[str, float]:
        """Train and return the epoch's metrics by name. Raises Stopped, or Diverged at a loss that is not finite."""
        for number, _, losses in steps(self._batches.epoch(self._number), self._step):
            self._finish(number, *losses)
        cross_entropy, smooth_l1 = np.mean(self._losses, axis=0).tolist()
        rate = len(self._batches) * self._hp.mini_batch_size / (time.monotonic() - self._start)
        return {"cross_entropy": cross_entropy, "smooth_l1": smooth_l1, "throughput": rate}

    def _finish(self, number: int, cross_entropy: mx.nd.NDArray, smooth_l1: mx.nd.NDArray) -> None:
        losses = float(cross_entropy.sum().asscalar()), float(smooth_l1.sum().asscalar())
        if not np.isfinite(losses).all():
            rate = self._step.trainer.learning_rate
            raise Diverged(f"the loss became {sum(losses)}", self._number, f"batch {number}", rate)
        self._losses.append(losses)
        if self._pace.due(number + 1):
            self._say_speed(number + 1)

    def _say_speed(self, number: int) -> None:
        """Tell of `number` batches that are finished."""
        spent = time.monotonic() - self._start
        length = len(self._batches)
        examples = number * self._hp.mini_batch_size
        LOG.info(
            "Epoch: %4d, batches: %6d, num_examples: %6d, %.1f samples/sec, epoch time so far:  %s",
            *(self._number, number, examples, examples / spent, datetime.timedelta(seconds=spent)),
        )
        left = time_left(self._job_start, self._number * length + number, self._hp.epochs * length)
        LOG.info("time left: %s", left)


def evaluate(net: Detector, data: Data, hp: Hyperparameters) -> list[NDArray[np.float32]]:
    """Return the detections (d, 6) of every validation photo, by MXNet's own suppression.

    Raises Stopped, and FloatingPointError when the network answers with numbers that are not finite.
    """
    count = len(data.validation)
    found: list[NDArray[np.float32]] = []
    progress = Progress("Validation images", count, SILENCE)
    for batch in in_order(data.validation_tensor, count, _EVALUATION_BATCH):
        stop.check()
        scores, boxes = net(mx.nd.array(batch))
        if not (np.isfinite(scores.asnumpy()).all() and np.isfinite(boxes.asnumpy()).all()):
            raise FloatingPointError("the network's answers are not finite")
        found += evaluation.detections(scores, boxes, hp.nms_threshold, hp.nms_topk)
        progress.done(min(len(found), count))
    return found[:count]


def fit(net: Detector, data: Data, hp: Hyperparameters, host: str, anchors: NDArray[np.float32], keep: Keep) -> None:
    """Train all epochs; `keep(best)` is called for each epoch that is the best so far.

    Ends early on a stop request or by early stopping. Raises Diverged at a loss or an answer that is not finite.
    """
    step = Step(net, hp)
    batches, ending, start = data.train_batches(hp, anchors), EarlyStopping(hp), time.monotonic()
    truths = [sample.label for sample in data.validation]
    best = -1.0
    for number in range(hp.epochs):
        try:
            trained = Epoch(number, step, batches, hp, start).run()
            for name in ("cross_entropy", "smooth_l1"):
                LOG.info(
                    "#quality_metric: host=%s, epoch=%d, batch=%d train %s <loss>=(%r)",
                    *(host, number, len(batches), name, trained[name]),
                )
            LOG.info("Round of batches complete")
            found = evaluate(net, data, hp)
        except stop.Stopped:
            return
        except FloatingPointError:
            raise Diverged("the answers became nan", number, "its end", step.trainer.learning_rate) from None
        value = evaluation.mean_average_precision(found, truths, hp.image_shape, hp.overlap_threshold)
        LOG.info("Updated the metrics")
        LOG.info("#quality_metric: host=%s, epoch=%d, validation mAP <score>=(%r)", host, number, value)
        if value > best:
            best = value
            stop.keep_model()
            LOG.info("Updating the best model with validation-mAP=%r", value)
            named = {f"train:{name}": trained[name] for name in trained} | {"validation:mAP": value}
            keep(Best(number, value, named, found))
        done = 100 * (number + 1) // hp.epochs
        LOG.info("#progress_metric: host=%s, completed %d %% of epochs", host, done)
        LOG.info("#throughput_metric: host=%s, train throughput=%r records/second", host, trained["throughput"])
        if ending.ends(number, value):
            return
