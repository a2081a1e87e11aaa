"""The training step of image-classification, with its optimizer and loss."""

from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from numpy.typing import NDArray

from train.classification import predictions
from train.classification.metrics import Labels
from train.gluon import devices, precision
from train.gluon.hosts import ALONE, Exchange
from train.gluon.optimizer import create, step_schedule, updates
from train.gluon.step import GluonStep
from train.image_classification.data import Batch
from train.image_classification.evaluation import activation
from train.image_classification.hyperparameters import Hyperparameters
from train.learner import Measured

Result = tuple[list[mx.nd.NDArray], list[mx.nd.NDArray]]


def optimizer(hp: Hyperparameters, hosts: int = 1) -> mx.optimizer.Optimizer:
    """Return the optimizer and learning-rate schedule of `hp` for a job on `hosts` hosts."""
    options: dict[str, float] = {
        "sgd": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "nag": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "adam": {"beta1": hp.beta_1, "beta2": hp.beta_2, "epsilon": hp.eps, "wd": 0.0},
        "rmsprop": {"gamma1": hp.gamma, "epsilon": hp.eps, "wd": 0.0},
    }[hp.optimizer]
    per_epoch = updates(hp.num_training_samples, hp.mini_batch_size, hosts)
    return create(hp.optimizer, learning_rate=hp.learning_rate, lr_scheduler=step_schedule(hp, per_epoch), **options)


def loss_function(hp: Hyperparameters, labels: Labels) -> gluon.loss.Loss:
    """Return softmax cross-entropy or, for multi-label, sigmoid cross-entropy averaged over the labels.

    With `use_weighted_loss` the positive term of label k has the weight (samples without k) / (samples with k), clipped
    to [0.01, 100], so that rare labels count as much as frequent ones.
    """
    if not hp.multi_label:
        return gluon.loss.SoftmaxCrossEntropyLoss()
    if not hp.use_weighted_loss:
        return gluon.loss.SigmoidBinaryCrossEntropyLoss()
    positive = labels.sum(axis=0)
    weight = np.clip((len(labels) - positive) / np.maximum(positive, 1), 0.01, 100).astype(np.float32)
    return _WeightedSigmoidLoss(weight)


class _WeightedSigmoidLoss(gluon.loss.SigmoidBinaryCrossEntropyLoss):
    """Sigmoid cross-entropy with a fixed weight (K,) for the positive term of each label."""

    def __init__(self, weight: NDArray[np.float32]) -> None:
        super().__init__()
        self.positive = self.params.get_constant("positive_weight", weight[None])
        self.positive.initialize()

    def hybrid_forward(self, F: Any, pred: Any, label: Any, positive: Any) -> Any:
        return super().hybrid_forward(F, pred, label, None, positive)


class Step(GluonStep[Batch, Result]):
    """One update of the network: forward, backward, optimizer."""

    def __init__(
        self,
        net: gluon.HybridBlock,
        loss: gluon.loss.Loss,
        hp: Hyperparameters,
        half: bool = False,
        exchange: Exchange = ALONE,
    ) -> None:
        super().__init__(net, optimizer(hp, exchange.hosts), hp.seed, half, exchange)
        self._forward = precision.to_float16(net) if half else net
        self._loss, self._activation, self._top_k = loss, activation(hp), hp.top_k
        devices.place(loss, self._contexts)
        self._loss.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, images: NDArray[np.float32], labels: Labels) -> Result:
        """Update on float32 (N, C, H, W) and labels; return losses (n,) and logits (n, K) per device with n images.

        MXNet computes both asynchronously; they may be pending on return.
        """
        x, y = (devices.split(array, self._contexts) for array in (images, labels))
        with autograd.record():
            logits = [self._forward(part) for part in x]
            losses = [self._loss(*part) for part in zip(logits, y, strict=True)]
        self._backward(losses)
        self._update(len(images))
        return losses, logits

    def read(self, batch: Batch, result: Result) -> Measured:
        """Return the mean loss and the accuracy of the batch."""
        losses, logits = result
        loss = np.concatenate([part.asnumpy() for part in losses]).mean()
        probabilities = np.concatenate([self._activation(part).asnumpy() for part in logits])
        return predictions.measure(float(loss), probabilities, batch[1], self._top_k)
