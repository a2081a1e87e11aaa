"""The training loop of semantic-segmentation: optimizer, one step, one epoch, evaluation, the best epoch kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from numpy.typing import NDArray

from serve import masks
from train.data.samples import in_order
from train.divergence import Diverged
from train.early_stopping import EarlyStopping
from train.epoch import Batches, steps, time_left
from train.gluon.optimizer import create, step_schedule, trainer
from train.job import stop
from train.log import LOG, SILENCE, Pace, Progress
from train.semantic_segmentation import evaluation
from train.semantic_segmentation.data import Batch, Data
from train.semantic_segmentation.enlarge import enlarge
from train.semantic_segmentation.hyperparameters import Hyperparameters
from train.semantic_segmentation.network import Answer, Segmenter, set_map

SPEED_EVERY = 20  # batches, as the built-in
_POWER = 0.9  # of the poly schedule: Chen et al. 2017 (DeepLabV3), section 4.1


@dataclass(frozen=True)
class Best:
    """The best epoch so far: its number from 0, its metrics, and its confusion matrix over the validation photos.

    Before the first has ended it is epoch -1.
    """

    epoch: int = -1
    metrics: dict[str, float] = field(default_factory=dict)
    matrix: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))


Keep = Callable[[Best], None]


def optimizer(hp: Hyperparameters, updates: int) -> mx.optimizer.Optimizer:
    """Return the optimizer that `hp` names, with its schedule over epochs of `updates` updates.

    The built-in has momentum and weight decay for sgd (here also for nag), and for rmsprop its two gammas: the second
    is a momentum, which MXNet's rmsprop has in its centred form.
    """
    own: dict[str, float] = {
        "sgd": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "nag": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "rmsprop": {"gamma1": hp.gamma1, "gamma2": hp.gamma2, "centered": True},
        "adam": {},
        "adagrad": {},
        "adadelta": {},
    }[hp.optimizer]
    schedule = _schedule(hp, updates)
    return create(hp.optimizer, learning_rate=hp.learning_rate, lr_scheduler=schedule, **own)


def _schedule(hp: Hyperparameters, updates: int) -> mx.lr_scheduler.LRScheduler | None:
    last, rate = hp.epochs * updates, hp.learning_rate
    if hp.lr_scheduler == "step":
        return step_schedule(hp, updates)
    if hp.lr_scheduler == "cosine":
        return mx.lr_scheduler.CosineScheduler(last, base_lr=rate)
    return mx.lr_scheduler.PolyScheduler(last, base_lr=rate, pwr=_POWER)


class Objective(gluon.HybridBlock):
    """What training lowers: (N, 3, S, S) and classes (N, S, S), -1 to ignore, to one number (1,).

    The mean cross-entropy of the batch's known pixels, of both heads; their logits are brought to the picture's side as
    the server brings them to a photo's. GluonCV's MixSoftmaxCrossEntropyLoss means the same, but the gradient of the
    operator in it knows no weight of the auxiliary head, and comes out smaller by the size of the batch.
    """

    def __init__(self, net: Segmenter, side: int) -> None:
        super().__init__(prefix=net.prefix)
        self.net, self._side = net, side

    def hybrid_forward(self, F: Any, x: Any, labels: Any) -> Any:
        set_map(self.net, self._side)
        main, auxiliary = (self._cross_entropy(F, logits, labels) for logits in self.net(x))
        return main + self.net.auxiliary * auxiliary

    def _cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        known = labels >= 0
        chances = F.log_softmax(enlarge(F, logits, self._side, align_corners=False), axis=1)
        each = F.pick(chances, F.maximum(labels, 0), axis=1) * known
        return -F.sum(each) / F.maximum(F.sum(known), 1)


class Step:
    """One update of the network: forward, backward, optimizer."""

    def __init__(self, net: Segmenter, hp: Hyperparameters, updates: int) -> None:
        self._objective = Objective(net, hp.crop_size)
        self._objective.hybridize(static_alloc=True, static_shape=True)
        self.trainer = trainer(net, optimizer(hp, updates))

    def __call__(self, images: NDArray[np.float32], labels: NDArray[np.float32]) -> tuple[mx.nd.NDArray]:
        """Update on float32 (N, 3, S, S) and (N, S, S); return the loss (1,), still under way."""
        x, y = mx.nd.array(images), mx.nd.array(labels)
        with autograd.record():
            loss = self._objective(x, y)
        loss.backward()
        self.trainer.step(1)  # the loss is a mean already
        return (loss,)


class Epoch:
    """One pass over the training data, with the built-in's lines and the time left of the whole job."""

    def __init__(self, number: int, step: Step, batches: Batches[Batch], hp: Hyperparameters, job_start: float) -> None:
        self._number, self._step, self._batches, self._hp, self._job_start = number, step, batches, hp, job_start
        self._start = time.monotonic()
        self._losses: list[float] = []
        self._pace = Pace(SPEED_EVERY)

    def run(self) -> dict[str, float]:
        """Train and return the epoch's metrics by name. Raises Stopped, or Diverged at a loss that is not finite."""
        for number, _, (loss,) in steps(self._batches.epoch(self._number), self._step):
            value = float(loss.asscalar())
            if not np.isfinite(value):
                rate = self._step.trainer.learning_rate
                raise Diverged(f"the loss became {value}", self._number, f"batch {number}", rate)
            self._losses.append(value)
            if self._pace.due(number + 1):
                self._say_speed(number + 1)
        return {"loss": float(np.mean(self._losses)), "throughput": self._rate(len(self._batches))}

    def _rate(self, batches: int) -> float:
        return batches * self._hp.mini_batch_size / (time.monotonic() - self._start)

    def _say_speed(self, number: int) -> None:
        """Tell of `number` batches that are finished."""
        LOG.info(
            "#progress_notice. epoch: %d, iterations: %d speed: %r samples/sec learning_rate: %f",
            *(self._number, number, self._rate(number), self._step.trainer.learning_rate),
        )
        length = len(self._batches)
        left = time_left(self._job_start, self._number * length + number, self._hp.epochs * length)
        LOG.info("time left: %s", left)


class Validation:
    """Scores a network on the validation photos: on centre crops, or whole when validation_mini_batch_size is 1."""

    def __init__(self, net: Segmenter, data: Data, hp: Hyperparameters) -> None:
        self._data, self._hp = data, hp
        self._whole = hp.validation_mini_batch_size == 1
        self._answer = Answer(net, data.spec.height if self._whole else hp.crop_size)
        self._answer.hybridize(static_alloc=True, static_shape=True)

    def confusion(self) -> NDArray[np.int64]:
        """Return the confusion matrix over all photos. Raises Stopped, and FloatingPointError: see `finite`."""
        count, classes = len(self._data.validation), self._hp.num_classes
        tensor = self._data.whole_tensor if self._whole else self._data.crop_tensor
        total, done = np.zeros((classes, classes), np.int64), 0
        progress = Progress("Validation images", count, SILENCE)
        for batch in in_order(tensor, count, self._hp.validation_mini_batch_size):
            stop.check()
            for predicted in self._predicted(finite(self._answer, batch), done)[: count - done]:
                truth = self._data.mask(done) if self._whole else self._data.crop_mask(done)
                total += evaluation.confusion(predicted, truth, classes)
                done += 1
            progress.done(done)
        return total

    def _predicted(self, logits: mx.nd.NDArray, first: int) -> list[NDArray[np.uint8]]:
        """Return the masks of a batch, of photos from `first` on: of their own sizes, or of the crop's."""
        if self._whole:
            return [whole_mask(row, self._data, first + index) for index, row in enumerate(logits.asnumpy())]
        return list(
            enlarge(mx.nd, logits, self._hp.crop_size, align_corners=False).argmax(axis=1).asnumpy().astype(np.uint8)
        )


def finite(answer: gluon.Block, batch: NDArray[np.float32]) -> mx.nd.NDArray:
    """Return the logits of a batch. Raises FloatingPointError when they are not finite."""
    logits = answer(mx.nd.array(batch))
    if not np.isfinite(logits.asnumpy()).all():
        raise FloatingPointError("the network's answers are not finite")
    return logits


def whole_mask(logits: NDArray[np.float32], data: Data, index: int) -> NDArray[np.uint8]:
    """Return uint8 (H, W), the classes that logits (K, h, w) mean on a whole validation photo."""
    height, width = data.mask(index).shape
    return masks.class_ids(logits, (width, height), data.spec)


def fit(net: Segmenter, data: Data, hp: Hyperparameters, host: str, keep: Keep) -> None:
    """Train all epochs; `keep(best)` is called for each epoch that is the best so far.

    Ends early on a stop request or by early stopping. Raises Diverged at a loss or an answer that is not finite.
    """
    batches, ending, start = data.train_batches(hp), EarlyStopping(hp), time.monotonic()
    LOG.info("LRScheduler setup: iters per epoch: %d, num_epochs %d", len(batches), hp.epochs)
    step, validation = Step(net, hp, len(batches)), Validation(net, data, hp)
    best = -1.0
    for number in range(hp.epochs):
        try:
            trained = Epoch(number, step, batches, hp, start).run()
            _say(host, number, "quality", "train loss", trained["loss"])
            _say(host, number, "throughput", "train throughput", trained["throughput"])
            began = time.monotonic()
            matrix = validation.confusion()
        except stop.Stopped:
            return
        except FloatingPointError:
            raise Diverged("the answers became nan", number, "its end", step.trainer.learning_rate) from None
        value, accuracy = evaluation.mean_iou(matrix), evaluation.pixel_accuracy(matrix)
        _say(host, number, "quality", "validation pixel_accuracy", accuracy)
        _say(host, number, "quality", "validation mIOU", value)
        rate = len(data.validation) / (time.monotonic() - began)
        _say(host, number, "throughput", "validation throughput", rate)
        if value > best:
            best = value
            stop.keep_model()
            measured = {"validation:mIOU": value, "validation:pixel_accuracy": accuracy}
            keep(Best(number, {f"train:{name}": trained[name] for name in trained} | measured, matrix))
        done = 100 * (number + 1) // hp.epochs
        LOG.info("#progress_metric: host=%s, completed %d %% of epochs", host, done)
        if ending.ends(number, value):
            return


def _say(host: str, epoch: int, kind: str, name: str, value: float) -> None:
    """Print a metric as the built-in does: a quality ends in " .", a throughput in its unit."""
    unit = " samples/sec." if kind == "throughput" else " ."
    LOG.info("#%s_metric. host: %s, epoch: %d, %s: %r%s", kind, host, epoch, name, value, unit)
