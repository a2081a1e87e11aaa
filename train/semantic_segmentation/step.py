"""The training step of semantic-segmentation, with its optimizer, schedule and loss."""

from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from numpy.typing import NDArray

from train.gluon import devices, precision
from train.gluon.hosts import ALONE, Exchange
from train.gluon.optimizer import create, step_schedule
from train.gluon.step import GluonStep
from train.learner import Measured
from train.semantic_segmentation.data import Batch
from train.semantic_segmentation.enlarge import enlarge
from train.semantic_segmentation.hyperparameters import Hyperparameters
from train.semantic_segmentation.network import Segmenter, set_map

_POWER = 0.9  # of the poly schedule: Chen et al. 2017 (DeepLabV3), section 4.1


def optimizer(hp: Hyperparameters, updates: int) -> mx.optimizer.Optimizer:
    """Return the optimizer and learning-rate schedule of `hp` for epochs of `updates` updates.

    In the built-in, momentum and weight decay apply to sgd (here also to nag), and gamma1 and gamma2 to rmsprop. gamma2
    is a momentum, which only the centred form of MXNet's rmsprop has.
    """
    options: dict[str, float] = {
        "sgd": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "nag": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "rmsprop": {"gamma1": hp.gamma1, "gamma2": hp.gamma2, "centered": True},
        "adam": {},
        "adagrad": {},
        "adadelta": {},
    }[hp.optimizer]
    schedule = _schedule(hp, updates)
    return create(hp.optimizer, learning_rate=hp.learning_rate, lr_scheduler=schedule, **options)


def _schedule(hp: Hyperparameters, updates: int) -> mx.lr_scheduler.LRScheduler | None:
    last, rate = hp.epochs * updates, hp.learning_rate
    if hp.lr_scheduler == "step":
        return step_schedule(hp, updates)
    if hp.lr_scheduler == "cosine":
        return mx.lr_scheduler.CosineScheduler(last, base_lr=rate)
    return mx.lr_scheduler.PolyScheduler(last, base_lr=rate, pwr=_POWER)


class Objective(gluon.HybridBlock):
    """The loss: maps pictures (N, 3, S, S) and classes (N, S, S), -1 if ignored, to one number (1,).

    It is the sum of both heads' mean cross-entropy over the pixels that are not ignored, the auxiliary head's weighted
    by `auxiliary`. Logits are enlarged to the picture's size as in the server. GluonCV's MixSoftmaxCrossEntropyLoss is
    meant to be the same, but the gradient of its operator ignores the weight of the auxiliary head, and is too small by
    a factor of the batch size.

    With `half`, only the network computes in float16.
    """

    def __init__(self, net: Segmenter, side: int, half: bool = False) -> None:
        super().__init__(prefix=net.prefix)
        self.net, self._side = net, side
        set_map(net, side)
        self._forward = precision.to_float16(net) if half else net

    def hybrid_forward(self, F: Any, x: Any, labels: Any) -> Any:
        set_map(self.net, self._side)
        main, auxiliary = (self._cross_entropy(F, logits, labels) for logits in self._forward(x))
        return main + self.net.auxiliary * auxiliary

    def _cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        known = labels >= 0
        log_probabilities = F.log_softmax(enlarge(F, logits, self._side, align_corners=False), axis=1)
        log_likelihood = F.pick(log_probabilities, F.maximum(labels, 0), axis=1) * known
        return -F.sum(log_likelihood) / F.maximum(F.sum(known), 1)


Losses = tuple[list[mx.nd.NDArray], list[float]]


class Step(GluonStep[Batch, Losses]):
    """One update of the network: forward, backward, optimizer."""

    def __init__(
        self, net: Segmenter, hp: Hyperparameters, updates: int, half: bool = False, exchange: Exchange = ALONE
    ) -> None:
        super().__init__(net, optimizer(hp, updates), hp.seed, half, exchange)
        self._objective = Objective(net, hp.crop_size, half)
        self._objective.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, images: NDArray[np.float32], labels: NDArray[np.float32]) -> Losses:
        """Update on float32 (N, 3, S, S) and (N, S, S); return each device's loss (1,) and weight in the batch's loss.

        A device's loss is the mean over its pixels that are not ignored; its weight is its fraction of these pixels.
        MXNet computes the losses asynchronously; they may be pending on return.
        """
        x, y = (devices.split(array, self._contexts) for array in (images, labels))
        known = [np.count_nonzero(part >= 0) for part in np.array_split(labels, len(self._contexts))]
        shares = [count / max(sum(known), 1) for count in known]
        with autograd.record():
            losses = [self._objective(*part) for part in zip(x, y, strict=True)]
        weights = [mx.nd.array([share], ctx=loss.context) for share, loss in zip(shares, losses, strict=True)]
        self._backward(losses, weights)
        self._update(1)  # the loss is already a mean
        return losses, shares

    def read(self, batch: Batch, result: Losses) -> Measured:
        """Return the loss of the batch."""
        loss = sum(share * float(part.asscalar()) for part, share in zip(*result, strict=True))
        return Measured(loss, {"loss": np.array([loss])})
