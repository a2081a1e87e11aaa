"""The evaluation of a Keras classifier: BatchNorm's statistics, then the validation samples."""

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
from train.keras.network import Below, Network, planes_last
from train.learner import Evaluated
from train.trainer import validation_batches

_STATISTICS = 256  # photos, of which BatchNorm's statistics are made


class Statistics:
    """BatchNorm's moving statistics: before each evaluation, averages over batches as the weights are then."""

    def __init__(
        self, above: keras.Model, below: Below | None, batches: Batches[Batch], size: int, peers: Peers = ALONE
    ) -> None:
        norms = [layer for layer in network.norms(above) if layer.trainable]
        self._variables = [each for layer in norms for each in (layer.moving_mean, layer.moving_variance)]
        self._peers = peers
        self._batches, self._count = batches, min(len(batches), -(-_STATISTICS // size))
        strategy = tf.distribute.get_strategy()

        def forward(images: tf.Tensor) -> tf.Tensor:
            return above(network.inputs(images, below), training=True)

        self._forward = tf.function(lambda images: strategy.run(forward, (images,)))

    def estimate(self) -> None:
        """Set the statistics, the same on all hosts. Raises Stopped."""
        if not self._variables:
            return
        found = []
        for images, _ in islice(self._batches.epoch(0), self._count):
            stop.check()
            with hosts.collective_errors():
                self._forward(*devices.split(images))  # its momentum leaves what this batch has
            found.append(np.concatenate([variable.numpy() for variable in self._variables]).astype(np.float64))
        averages = self._peers.mean(np.mean(found, axis=0))
        ends = np.cumsum([variable.shape[0] for variable in self._variables])
        for variable, values in zip(self._variables, np.split(averages, ends[:-1]), strict=True):
            variable.assign(values.astype(np.float32))


class Evaluation:
    """Answers the validation samples; with frozen layers their features are kept."""

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
        self._answer = tf.function(lambda batch: tf.nn.softmax(net.above(batch, training=False)))
        self._features = (
            frozen.compute_all("validation", loaded.validation_tensor, self._count) if frozen is not None else None
        )

    def __call__(self) -> Evaluated[NDArray[np.float64]]:
        """Answer the validation samples. Raises Stopped, and FloatingPointError when an answer is not finite."""
        with self._strategy.scope():
            self._statistics.estimate()
            batches = validation_batches(self._tensor, self._count, predictions.EVALUATION_BATCH)
            found = [self._answer(self._inputs(batch)).numpy() for batch in batches]
        every = Distribution(self._peers).gather_rows(np.concatenate(found)[: self._count])
        return predictions.evaluate(every, self._labels, self._top_k)

    def _tensor(self, index: int) -> NDArray[np.float32]:
        return self._data.validation_tensor(index) if self._features is None else self._features[index]

    def _inputs(self, batch: NDArray[np.float32]) -> tf.Tensor:
        if self._features is not None:
            return tf.convert_to_tensor(batch)
        pixels = planes_last(batch)
        return pixels if self._below is None else self._below(pixels)
