"""The evaluation of a Keras classifier: estimate BatchNorm's statistics, then predict the validation samples."""

from itertools import islice

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.classification import predictions
from train.classification.labelled import stack_labels
from train.data.distribution import Distribution
from train.epoch import Batches
from train.job import stop
from train.job.peers import ALONE, Peers
from train.keras import devices, hosts, network
from train.keras.data import Batch, Data
from train.keras.features import Frozen
from train.keras.network import Below, Network, channels_last
from train.learner import Evaluated
from train.trainer import validation_batches

_STATISTICS = 256  # photos for the estimate of BatchNorm's statistics


class Statistics:
    """Estimates BatchNorm's moving statistics before each evaluation, by averaging over batches with fixed weights."""

    def __init__(
        self, above: keras.Model, below: Below | None, batches: Batches[Batch], size: int, peers: Peers = ALONE
    ) -> None:
        norms = [layer for layer in network.norms(above) if layer.trainable]
        self._variables = [value for layer in norms for value in (layer.moving_mean, layer.moving_variance)]
        self._peers = peers
        self._batches, self._count = batches, min(len(batches), -(-_STATISTICS // size))
        strategy = tf.distribute.get_strategy()

        def forward(images: tf.Tensor) -> tf.Tensor:
            return above(network.inputs(images, below), training=True)

        self._forward = tf.function(lambda images: strategy.run(forward, (images,)))

    def estimate(self) -> None:
        """Set the statistics, to the same values on all hosts. Raises Stopped."""
        if not self._variables:
            return
        batch_statistics = []
        for images, _ in islice(self._batches.epoch(0), self._count):
            stop.check()
            with hosts.collective_errors():
                self._forward(*devices.split(images))  # with momentum 0, sets the variables to this batch's statistics
            current = np.concatenate([variable.numpy() for variable in self._variables])
            batch_statistics.append(current.astype(np.float64))
        averages = self._peers.mean(np.mean(batch_statistics, axis=0))
        ends = np.cumsum([variable.shape[0] for variable in self._variables])
        for variable, values in zip(self._variables, np.split(averages, ends[:-1]), strict=True):
            variable.assign(values.astype(np.float32))


class Evaluation:
    """Evaluates the validation samples. With frozen layers, their features are computed only once."""

    def __init__(
        self,
        net: Network,
        loaded: Data,
        statistics: Statistics,
        frozen: Frozen | None,
        top_k: int | None,
        peers: Peers = ALONE,
    ) -> None:
        self._peers = peers
        self._strategy, self._statistics = tf.distribute.get_strategy(), statistics
        self._data, self._count, self._top_k = loaded, len(loaded.validation), top_k
        self._labels = stack_labels(loaded.validation)
        self._below = frozen.features if frozen else None
        self._predict = tf.function(lambda batch: tf.nn.softmax(net.above(batch, training=False)))
        self._features = (
            frozen.compute_all("validation", loaded.validation_tensor, self._count) if frozen is not None else None
        )

    def __call__(self) -> Evaluated[NDArray[np.float64]]:
        """Evaluate all samples. Raises Stopped, and FloatingPointError if a prediction is not finite."""
        with self._strategy.scope():
            self._statistics.estimate()
            batches = validation_batches(self._tensor, self._count, predictions.EVALUATION_BATCH)
            probabilities = [self._predict(self._inputs(batch)).numpy() for batch in batches]
        all_probabilities = Distribution(self._peers).gather_rows(np.concatenate(probabilities)[: self._count])
        return predictions.evaluate(all_probabilities, self._labels, self._top_k)

    def _tensor(self, index: int) -> NDArray[np.float32]:
        return self._data.validation_tensor(index) if self._features is None else self._features[index]

    def _inputs(self, batch: NDArray[np.float32]) -> tf.Tensor:
        if self._features is not None:
            return tf.convert_to_tensor(batch)
        pixels = channels_last(batch)
        return pixels if self._below is None else self._below(pixels)
