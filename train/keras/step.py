"""The training step of a Keras classifier, with optimizer, learning-rate schedule and class weights."""

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
    """Return the optimizer and its learning-rate schedule. An epoch has `updates` updates."""
    rate = _rate(hp, updates)
    factories: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
        "sgd": lambda: keras.optimizers.SGD(rate, hp.momentum),
        "nag": lambda: keras.optimizers.SGD(rate, hp.momentum, nesterov=True),
        "adam": lambda: keras.optimizers.Adam(rate, hp.beta_1, hp.beta_2, hp.eps),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate, hp.gamma, epsilon=hp.eps),
    }
    return factories[hp.optimizer]()


def _rate(hp: KerasHyperparameters, updates: int) -> Any:
    """Return the learning rate or its schedule: multiply by `lr_scheduler_factor` after each `lr_scheduler_step`."""
    if not hp.lr_scheduler_step:
        return hp.learning_rate
    boundaries = [epoch * updates - 1 for epoch in hp.lr_scheduler_step]
    rates = [hp.learning_rate * hp.lr_scheduler_factor**count for count in range(len(boundaries) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return class weights, float32 (classes,), for labels, int64 (N,): the inverse of each class's share.

    The weights are 1 if all classes have the same number of samples. They are clipped to [0.01, 100]; the weight of a
    class without samples is 1.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, np.clip(weights, 0.01, 100), 1).astype(np.float32)


class Step(learner.Step[Batch, Result]):
    """Updates the layers above the cut.

    `below` computes the features of photos. It is None if the batches already contain the input of these layers.
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
        """The learning rate of the next update."""
        with self._strategy.scope():  # with several hosts, it is a distributed variable
            return float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))

    def __call__(self, images: NDArray[np.uint8] | NDArray[np.float32], labels: NDArray[np.int64]) -> Result:
        """Update on a batch and its labels, int64 (N,). Return each device's loss () and probabilities.

        N is this host's share of the batch.
        """
        with self._strategy.scope(), hosts.collective_errors():
            return self._update(*devices.split(images, labels), hosts.count() * len(labels))

    def read(self, batch: Batch, result: Result) -> Measured:
        """Measure the mean loss and the accuracy of the batch."""
        with self._strategy.scope():
            losses, probabilities = (devices.local(part) for part in result)
        shares = [len(part) / len(batch[1]) for part in probabilities]
        loss = sum(share * float(part) for share, part in zip(shares, losses, strict=True))
        return predictions.measure(loss, np.concatenate(probabilities), batch[1], self._top_k)

    def state(self) -> State:
        """Return the variables of the layers above the cut, their random generators, and the optimizer."""
        with self._strategy.scope():
            return {name: [np.array(value) for value in values] for name, values in self._all_variables().items()}

    def restore(self, state: State) -> None:
        """Resume from a state. The learning rate follows this job's hyperparameters."""
        with self._strategy.scope():
            for name, variables in self._all_variables().items():
                for variable, value in zip(variables, state[name], strict=True):
                    variable.assign(value)

    def _all_variables(self) -> dict[str, list[keras.Variable]]:
        optimizer_variables = [variable for variable in self._optimizer.variables if variable.name != "learning_rate"]
        return {"network": self._above.variables, "optimizer": optimizer_variables}

    def _updated(self, images: tf.Tensor, labels: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Update one device's copy on its part of a batch. `size` is the batch's size on all devices of all hosts."""
        inputs = network.inputs(images, self._below)
        with tf.GradientTape() as tape:
            logits = self._above(inputs, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            if self._weights is not None:
                losses *= tf.gather(self._weights, labels)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._variables)
        pairs = zip(gradients, self._variables, strict=True)
        share = labels.shape[0] / size  # optimizers sum the gradients of the devices
        shares = [share * self._decayed(gradient, variable) for gradient, variable in pairs]
        self._optimizer.apply(shares, self._variables)
        return loss, tf.nn.softmax(logits)

    def _decayed(self, gradient: tf.Tensor, variable: keras.Variable) -> tf.Tensor:
        """Add weight decay to the gradient of a kernel. BatchNorm's parameters and biases do not decay."""
        return gradient + self._decay * variable if self._decay and variable.name in _KERNELS else gradient
