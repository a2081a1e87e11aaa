"""The training step of object-detection and its optimizer."""

import mxnet as mx
import numpy as np
from gluoncv.loss import SSDMultiBoxLoss
from mxnet import autograd
from numpy.typing import NDArray

from train.gluon import devices
from train.gluon.hosts import ALONE, Exchange
from train.gluon.optimizer import create, step_schedule, updates
from train.gluon.step import GluonStep
from train.learner import Measured
from train.object_detection.data import Batch
from train.object_detection.hyperparameters import Hyperparameters
from train.object_detection.network import Detector

_MIN_NEGATIVES = 3

Losses = tuple[list[mx.nd.NDArray], list[mx.nd.NDArray]]


def optimizer(hp: Hyperparameters, hosts: int = 1) -> mx.optimizer.Optimizer:
    """Return the optimizer and learning-rate schedule of `hp` for a job on `hosts` hosts.

    adam and adadelta have no hyperparameters in the built-in either.
    """
    options: dict[str, float] = {
        "sgd": {"momentum": hp.momentum, "wd": hp.weight_decay},
        "rmsprop": {"wd": hp.weight_decay},
        "adam": {},
        "adadelta": {},
    }[hp.optimizer]
    per_epoch = updates(hp.num_training_samples, hp.mini_batch_size, hosts)
    return create(hp.optimizer, learning_rate=hp.learning_rate, lr_scheduler=step_schedule(hp, per_epoch), **options)


class Step(GluonStep[Batch, Losses]):
    """One update of the network: forward, hard negative mining, backward, optimizer."""

    def __init__(self, net: Detector, hp: Hyperparameters, exchange: Exchange = ALONE) -> None:
        super().__init__(net, optimizer(hp, exchange.hosts), hp.seed, exchange=exchange)
        # The loss uses three negatives per matched anchor. Photos without boxes have none, so they need a minimum.
        self._loss = SSDMultiBoxLoss(min_hard_negatives=_MIN_NEGATIVES)

    def __call__(self, images: NDArray[np.float32], classes: NDArray[np.float32], boxes: NDArray[np.float32]) -> Losses:
        """Update on float32 (N, 3, S, S), (N, A) and (N, A, 4); return the cross-entropy and smooth L1 of each picture.

        Both are sums over a picture's anchors, divided by the number of matched anchors in the batch, in one array per
        device. MXNet computes them asynchronously; they may be pending on return.
        """
        x, *targets = (devices.split(array, self._contexts) for array in (images, classes, boxes))
        with autograd.record():
            logits, offsets = zip(*(self._net.predictor(part) for part in x), strict=True)
            total, cross_entropy, smooth_l1 = self._loss(list(logits), list(offsets), *targets)
        self._backward(total)
        self._update(1)  # the loss is already normalised
        return cross_entropy, smooth_l1

    def read(self, batch: Batch, result: Losses) -> Measured:
        """Return both losses of the batch."""
        cross_entropy, smooth_l1 = (sum(float(part.sum().asscalar()) for part in parts) for parts in result)
        values = {"cross_entropy": np.array([cross_entropy]), "smooth_l1": np.array([smooth_l1])}
        return Measured(cross_entropy + smooth_l1, values)
