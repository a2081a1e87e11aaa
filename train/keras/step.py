"""How a Keras classifier trains: optimizer, schedule, class weights, and one step."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train import learner
from train.classification import predictions
from train.keras import devices, hosts, network
from train.keras.data import Batch
from train.keras.hyperparameters import KerasHyperparameters
from train.keras.network import Below
from train.learner import Measured
from train.state import State

Result = tuple[tf.Tensor, tf.Tensor]
_KERNELS = ("kernel", "depthwise_kernel")


def optimizer(hp: KerasHyperparameters, updates: int) -> keras.optimizers.Optimizer:
    """Return the optimizer that `hp` names, with its schedule; an epoch has `updates` updates."""
    rate = _rate(hp, updates)
    make: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
        "sgd": lambda: keras.optimizers.SGD(rate, hp.momentum),
        "nag": lambda: keras.optimizers.SGD(rate, hp.momentum, nesterov=True),
        "adam": lambda: keras.optimizers.Adam(rate, hp.beta_1, hp.beta_2, hp.eps),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate, hp.gamma, epsilon=hp.eps),
    }
    return make[hp.optimizer]()


def _rate(hp: KerasHyperparameters, updates: int) -> Any:
    """Return the learning rate, multiplied by `lr_scheduler_factor` after each epoch of `lr_scheduler_step`."""
    if not hp.lr_scheduler_step:
        return hp.learning_rate
    last = [epoch * updates - 1 for epoch in hp.lr_scheduler_step]
    rates = [hp.learning_rate * hp.lr_scheduler_factor**count for count in range(len(last) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(last, rates)


def class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return float32 (classes,) for int64 labels (N,): inverse to a class's share, 1 when all are alike.

    Bounded to [0.01, 100]; a class without samples has 1.
    """
    counts = np.bincount(labels, minlength=classes)
    there = np.maximum(counts, 1)
    return np.where(counts > 0, np.clip(counts.sum() / (np.count_nonzero(counts) * there), 0.01, 100), 1).astype(
        np.float32
    )


class Step(learner.Step[Batch, Result]):
    """One update of the layers above the cut: forward, backward, optimizer.

    `below` makes the features of photos; None when the batches hold what the layers above the cut take.
    """

    def __init__(
        self,
        above: keras.Model,
        below: Below | None,
        weights: NDArray[np.float32] | None,
        hp: KerasHyperparameters,
        updates: int,
    ) -> None:
        self._above, self._below, self._weights, self._top_k = above, below, weights, hp.top_k
        self._variables = above.trainable_variables
        self._optimizer = optimizer(hp, updates)
        self._optimizer.build(self._variables)
        self._decay = hp.weight_decay if hp.optimizer in ("sgd", "nag") else 0.0
        self._strategy = strategy = tf.distribute.get_strategy()
        self._update = tf.function(lambda images, labels, size: strategy.run(self._updated, (images, labels, size)))

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        with self._strategy.scope():  # of several hosts it is a variable that each has a copy of
            return float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))

    def __call__(self, images: NDArray[np.uint8] | NDArray[np.float32], labels: NDArray[np.int64]) -> Result:
        """Update on a batch and its labels int64 (N,); return loss () and probabilities (N, K), of each device its own.

        N is this host's share of the batch.
        """
        with self._strategy.scope(), hosts.collective_errors():
            return self._update(*devices.split(images, labels), hosts.count() * len(labels))

    def read(self, batch: Batch, result: Result) -> Measured:
        """Return the mean loss and the accuracy of the batch."""
        with self._strategy.scope():
            losses, probabilities = (devices.local(part) for part in result)
        shares = [len(part) / len(batch[1]) for part in probabilities]
        loss = sum(share * float(part) for share, part in zip(shares, losses, strict=True))
        return predictions.measure(loss, np.concatenate(probabilities), batch[1], self._top_k)

    def state(self) -> State:
        """Return the variables of the network above the cut, with its random generators, and of the optimizer."""
        with self._strategy.scope():
            return {name: [np.array(value) for value in found] for name, found in self._all_variables().items()}

    def restore(self, state: State) -> None:
        """Go on from a state. The learning rate is that of the hyperparameters."""
        with self._strategy.scope():
            for name, found in self._all_variables().items():
                for variable, value in zip(found, state[name], strict=True):
                    variable.assign(value)

    def _all_variables(self) -> dict[str, list[keras.Variable]]:
        own = [variable for variable in self._optimizer.variables if variable.name != "learning_rate"]
        return {"network": self._above.variables, "optimizer": own}

    def _updated(self, images: tf.Tensor, labels: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Update one device's copy on its part of a batch of `size`, which all devices of all hosts share."""
        inputs = network.inputs(images, self._below)
        with tf.GradientTape() as tape:
            logits = self._above(inputs, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            if self._weights is not None:
                losses *= tf.gather(self._weights, labels)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._variables)
        pairs = zip(gradients, self._variables, strict=True)
        share = labels.shape[0] / size  # optimizers add up the devices' gradients
        shares = [share * self._decayed(gradient, variable) for gradient, variable in pairs]
        self._optimizer.apply(shares, self._variables)
        return loss, tf.nn.softmax(logits)

    def _decayed(self, gradient: tf.Tensor, variable: keras.Variable) -> tf.Tensor:
        """Return the gradient with the weight decay of kernels: BatchNorm's shifts and scales must not decay."""
        return gradient + self._decay * variable if self._decay and variable.name in _KERNELS else gradient
