"""The training of image-classification: optimizer, loss, one step, evaluation. The epochs are train/classifier.py's."""

from collections.abc import Callable
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from numpy.typing import NDArray

from train import classifier
from train.classification.labelled import stack_labels
from train.classification.metrics import Labels
from train.classifier import EVALUATION_BATCH, Best
from train.data.samples import in_order
from train.gluon.optimizer import create, step_schedule, trainer
from train.image_classification.data import Data
from train.image_classification.hyperparameters import Hyperparameters
from train.job import stop
from train.log import SILENCE, Progress


def optimizer(hp: Hyperparameters) -> mx.optimizer.Optimizer:
    """Return the optimizer that `hp` names, with its schedule."""
    own: dict[str, float] = {
        "sgd": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "nag": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "adam": {"beta1": hp.beta_1, "beta2": hp.beta_2, "epsilon": hp.eps, "wd": 0.0},
        "rmsprop": {"gamma1": hp.gamma, "epsilon": hp.eps, "wd": 0.0},
    }[hp.optimizer]
    updates = -(-hp.num_training_samples // hp.mini_batch_size)  # of an epoch, as the built-in counts them
    return create(hp.optimizer, learning_rate=hp.learning_rate, lr_scheduler=step_schedule(hp, updates), **own)


def loss_function(hp: Hyperparameters, labels: Labels) -> gluon.loss.Loss:
    """Return softmax cross-entropy, or for multi-label the mean over labels of the sigmoid one.

    `use_weighted_loss`: the positive term of label k weighs (samples without k) / (samples with k), so that a rare
    label counts as much as a frequent one; bounded to [0.01, 100].
    """
    if not hp.multi_label:
        return gluon.loss.SoftmaxCrossEntropyLoss()
    if not hp.use_weighted_loss:
        return gluon.loss.SigmoidBinaryCrossEntropyLoss()
    positive = labels.sum(axis=0)
    weight = np.clip((len(labels) - positive) / np.maximum(positive, 1), 0.01, 100).astype(np.float32)
    return _WeightedSigmoidLoss(weight)


class _WeightedSigmoidLoss(gluon.loss.SigmoidBinaryCrossEntropyLoss):
    """Sigmoid cross-entropy with a fixed weight (K,) of the positive term of each label."""

    def __init__(self, weight: NDArray[np.float32]) -> None:
        super().__init__()
        self.positive = self.params.get_constant("positive_weight", weight[None])
        self.positive.initialize()

    def hybrid_forward(self, F: Any, pred: Any, label: Any, positive: Any) -> Any:
        return super().hybrid_forward(F, pred, label, None, positive)


class Step:
    """One update of the network: forward, backward, optimizer."""

    def __init__(self, net: gluon.HybridBlock, loss: gluon.loss.Loss, hp: Hyperparameters) -> None:
        self._net, self._loss, self._activation = net, loss, activation(hp)
        self._loss.hybridize(static_alloc=True, static_shape=True)
        self.trainer = trainer(net, optimizer(hp))

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return self.trainer.learning_rate

    def __call__(self, images: NDArray[np.float32], labels: Labels) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Update on float32 (N, C, H, W) and labels; return loss (N,) and logits (N, K), both still under way."""
        x, y = mx.nd.array(images, dtype=np.float32), mx.nd.array(labels, dtype=np.float32)
        with autograd.record():
            logits = self._net(x)
            loss = self._loss(logits, y)
        loss.backward()
        self.trainer.step(len(images))
        return loss, logits

    def read(self, loss: mx.nd.NDArray, logits: mx.nd.NDArray) -> tuple[float, NDArray[np.float32]]:
        """Return the mean loss and the probabilities, float32 (N, K)."""
        return float(loss.asnumpy().mean()), self._activation(logits).asnumpy()


def evaluate(net: gluon.HybridBlock, data: Data, hp: Hyperparameters) -> NDArray[np.float32]:
    """Return probabilities float32 (N, K) of the validation samples. Raises Stopped."""
    count = len(data.validation)
    found, progress = [], Progress("Validation images", count, SILENCE)
    for batch in in_order(data.validation_tensor, count, EVALUATION_BATCH):
        stop.check()
        found.append(activation(hp)(net(mx.nd.array(batch))).asnumpy())
        progress.done(min(len(found) * len(batch), count))
    return np.concatenate(found)[:count]


def activation(hp: Hyperparameters) -> Callable[[mx.nd.NDArray], mx.nd.NDArray]:
    """Return what makes probabilities of logits: a softmax over the classes, or a sigmoid for each label."""
    return mx.nd.sigmoid if hp.multi_label else mx.nd.softmax


def fit(net: gluon.HybridBlock, data: Data, hp: Hyperparameters, best: Best, save: Callable[[int, bool], None]) -> None:
    """Train all epochs as `classifier.fit` does. Raises Diverged."""
    step = Step(net, loss_function(hp, stack_labels(data.train)), hp)
    labels = stack_labels(data.validation)
    classifier.fit(
        step, data.train_batches(hp), lambda: evaluate(net, data, hp), labels, hp, best, save, hp.checkpoint_frequency
    )
