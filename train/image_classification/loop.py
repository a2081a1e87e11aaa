"""The training loop of image-classification: optimizer, one step, one epoch, evaluation, the best epoch kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from train import metrics, stop
from train.divergence import Diverged
from train.early_stopping import EarlyStopping
from train.epoch import steps, time_left
from train.image_classification.data import Data, stack_labels
from train.log import LOG, SILENCE, Pace, Progress
from train.optimizer import step_schedule, trainer
from train.samples import in_order

SPEED_EVERY = 20  # batches; the built-in's Speedometer
_EVALUATION_BATCH = 32


@dataclass
class Best:
    """The best epoch so far: its number from 0, its metrics, and `correct` per validation sample, float64 (N,)."""

    epoch: int = -1
    accuracy: float = -1.0
    metrics: dict[str, float] = field(default_factory=dict)
    correct: np.ndarray = field(default_factory=lambda: np.zeros(0))


def optimizer(hp: dict[str, Any]) -> mx.optimizer.Optimizer:
    """Return the optimizer that `hp` names, with its schedule."""
    own: dict[str, Any] = {
        "sgd": {"momentum": hp["momentum"], "wd": hp["weight_decay"]},
        "nag": {"momentum": hp["momentum"], "wd": hp["weight_decay"]},
        "adam": {"beta1": hp["beta_1"], "beta2": hp["beta_2"], "epsilon": hp["eps"], "wd": 0.0},
        "rmsprop": {"gamma1": hp["gamma"], "epsilon": hp["eps"], "wd": 0.0},
    }[hp["optimizer"]]
    return mx.optimizer.create(
        hp["optimizer"], learning_rate=hp["learning_rate"], lr_scheduler=step_schedule(hp), **own
    )


def loss_function(hp: dict[str, Any], labels: np.ndarray) -> gluon.loss.Loss:
    """Return softmax cross-entropy, or for multi-label the mean over labels of the sigmoid one.

    `use_weighted_loss`: the positive term of label k weighs (samples without k) / (samples with k), so that a rare
    label counts as much as a frequent one; bounded to [0.01, 100].
    """
    if not hp["multi_label"]:
        return gluon.loss.SoftmaxCrossEntropyLoss()
    if not hp["use_weighted_loss"]:
        return gluon.loss.SigmoidBinaryCrossEntropyLoss()
    positive = labels.sum(axis=0)
    weight = np.clip((len(labels) - positive) / np.maximum(positive, 1), 0.01, 100).astype(np.float32)
    return _WeightedSigmoidLoss(weight)


class _WeightedSigmoidLoss(gluon.loss.SigmoidBinaryCrossEntropyLoss):
    """Sigmoid cross-entropy with a fixed weight (K,) of the positive term of each label."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.positive = self.params.get_constant("positive_weight", weight[None])
        self.positive.initialize()

    def hybrid_forward(self, F: Any, pred: Any, label: Any, positive: Any) -> Any:
        return super().hybrid_forward(F, pred, label, None, positive)


class Step:
    """One update of the network: forward, backward, optimizer."""

    def __init__(self, net: gluon.HybridBlock, loss: gluon.loss.Loss, hp: dict[str, Any]) -> None:
        self._net, self._loss = net, loss
        self._loss.hybridize(static_alloc=True, static_shape=True)
        self.trainer = trainer(net, optimizer(hp))

    def __call__(self, images: np.ndarray, labels: np.ndarray) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Update on float32 (N, C, H, W) and labels; return loss (N,) and logits (N, K), both still under way."""
        x, y = mx.nd.array(images, dtype=np.float32), mx.nd.array(labels, dtype=np.float32)
        with autograd.record():
            logits = self._net(x)
            loss = self._loss(logits, y)
        loss.backward()
        self.trainer.step(len(images))
        return loss, logits


class Epoch:
    """One pass over the training data, with the built-in's lines and the time left of the whole job."""

    def __init__(self, number: int, step: Step, batches: Any, hp: dict[str, Any], job_start: float) -> None:
        self._number, self._step, self._batches, self._hp, self._job_start = number, step, batches, hp, job_start
        self._correct: list[np.ndarray] = []
        self._top_k: list[np.ndarray] = []
        self._start = self._said = time.monotonic()
        self._said_at = -1
        self._pace = Pace(SPEED_EVERY)

    def run(self) -> dict[str, float]:
        """Train and return the epoch's metrics by name. Raises Stopped, or Diverged at a loss that is not finite."""
        for number, (_, labels), results in steps(self._batches.epoch(self._number), self._step):
            self._finish(number, labels, *results)
        found = {"accuracy": float(np.concatenate(self._correct).mean())}
        if self._hp["top_k"]:
            found[f"top_k_accuracy_{self._hp['top_k']}"] = float(np.concatenate(self._top_k).mean())
        return found

    def _finish(self, number: int, labels: np.ndarray, loss: mx.nd.NDArray, logits: mx.nd.NDArray) -> None:
        mean = float(loss.asnumpy().mean())
        if not np.isfinite(mean):
            raise Diverged(f"the loss became {mean}", self._number, f"batch {number}", self._step.trainer.learning_rate)
        probabilities = activation(self._hp)(logits).asnumpy()
        self._correct.append(metrics.correct(probabilities, labels))
        if self._hp["top_k"]:
            self._top_k.append(metrics.top_k_correct(probabilities, labels, self._hp["top_k"]))
        if self._pace.due(number):
            self._say_speed(number)

    def _say_speed(self, number: int) -> None:
        now = time.monotonic()
        speed = (number - self._said_at) * self._hp["mini_batch_size"] / (now - self._said)
        self._said, self._said_at = now, number
        length = len(self._batches)
        left = time_left(self._job_start, self._number * length + number + 1, self._hp["epochs"] * length)
        accuracy = np.concatenate(self._correct).mean()
        LOG.info(
            "Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec\taccuracy=%f\ttime left: %s",
            self._number,
            number,
            speed,
            accuracy,
            left,
        )


def evaluate(net: gluon.HybridBlock, data: Data, hp: dict[str, Any]) -> np.ndarray:
    """Return probabilities float32 (N, K) of the validation samples. Raises Stopped."""
    count = len(data.validation)
    found, progress = [], Progress("Validation images", count, SILENCE)
    for batch in in_order(data.validation_tensor, count, _EVALUATION_BATCH):
        stop.check()
        found.append(activation(hp)(net(mx.nd.array(batch))).asnumpy())
        progress.done(min(len(found) * len(batch), count))
    return np.concatenate(found)[:count]


def activation(hp: dict[str, Any]) -> Callable[[mx.nd.NDArray], mx.nd.NDArray]:
    """Return what makes probabilities of logits: a softmax over the classes, or a sigmoid for each label."""
    return mx.nd.sigmoid if hp["multi_label"] else mx.nd.softmax


def fit(net: gluon.HybridBlock, data: Data, hp: dict[str, Any], best: Best, save: Callable[[int, bool], None]) -> None:
    """Train all epochs; `best` holds the best so far, and `save(epoch, is_best)` is called for each worth a file.

    Ends early on a stop request or by early stopping. Raises Diverged at a loss or an answer that is not finite.
    """
    step = Step(net, loss_function(hp, stack_labels(data.train)), hp)
    batches, ending = data.train_batches(hp), EarlyStopping(hp)
    labels, start = stack_labels(data.validation), time.monotonic()
    for number in range(hp["epochs"]):
        began = time.monotonic()
        try:
            trained = Epoch(number, step, batches, hp, start).run()
            _say(number, "Train", trained)
            LOG.info("Epoch[%d] Time cost=%.3f", number, time.monotonic() - began)
            probabilities = evaluate(net, data, hp)
        except stop.Stopped:
            return
        if not np.isfinite(probabilities).all():
            raise Diverged("the answers became nan", number, "its end", step.trainer.learning_rate)
        correct = metrics.correct(probabilities, labels)
        validated = {"accuracy": float(correct.mean())}
        if hp["top_k"]:
            validated[f"top_k_accuracy_{hp['top_k']}"] = float(
                metrics.top_k_correct(probabilities, labels, hp["top_k"]).mean()
            )
        _say(number, "Validation", validated)
        if validated["accuracy"] > best.accuracy:
            named = {f"train:{name}": value for name, value in trained.items()} | {
                f"validation:{name}": value for name, value in validated.items()
            }
            best.epoch, best.accuracy, best.metrics, best.correct = number, validated["accuracy"], named, correct
            stop.keep_model()
            LOG.info("Storing the best model with validation accuracy: %f", best.accuracy)
            save(number, True)
        elif hp["checkpoint_frequency"] and (number + 1) % hp["checkpoint_frequency"] == 0:
            save(number, False)
        if ending.ends(number, validated["accuracy"]):
            LOG.info("Early stopping after epoch %d: no gain for %d epochs", number, ending.patience)
            return


def _say(epoch: int, what: str, values: dict[str, float]) -> None:
    for name, value in values.items():
        LOG.info("Epoch[%d] %s-%s=%f", epoch, what, name, value)
