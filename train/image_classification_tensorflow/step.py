"""The training of image-classification-tensorflow: optimizer, step, evaluation. The epochs: train/classifier.py."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train import classifier
from train.classification import labelled
from train.classifier import EVALUATION_BATCH, Best
from train.data import samples
from train.epoch import Batches
from train.image_classification_tensorflow import data as datas
from train.image_classification_tensorflow import hosts
from train.image_classification_tensorflow import network as networks
from train.image_classification_tensorflow.data import Batch, Data
from train.image_classification_tensorflow.hyperparameters import Hyperparameters
from train.image_classification_tensorflow.network import Network
from train.job import stop
from train.log import LOG, SILENCE, Progress

Below = Callable[[tf.Tensor], tf.Tensor]
_KERNELS = ("kernel", "depthwise_kernel")
_STATISTICS = 256  # photos, of which BatchNorm's statistics are made


def optimizer(hp: Hyperparameters, updates: int) -> keras.optimizers.Optimizer:
    """Return the optimizer that `hp` names, with its schedule; an epoch has `updates` updates."""
    rate = _rate(hp, updates)
    make: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
        "sgd": lambda: keras.optimizers.SGD(rate, hp.momentum),
        "nag": lambda: keras.optimizers.SGD(rate, hp.momentum, nesterov=True),
        "adam": lambda: keras.optimizers.Adam(rate, hp.beta_1, hp.beta_2, hp.eps),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate, hp.gamma, epsilon=hp.eps),
    }
    return make[hp.optimizer]()


def _rate(hp: Hyperparameters, updates: int) -> Any:
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


class Step:
    """One update of the layers above the cut: forward, backward, optimizer.

    `below` makes the features of photos; None when the batches hold what the layers above the cut take.
    """

    def __init__(
        self,
        above: keras.Model,
        below: Below | None,
        weights: NDArray[np.float32] | None,
        hp: Hyperparameters,
        updates: int,
    ) -> None:
        self._above, self._below, self._weights = above, below, weights
        self._variables = above.trainable_variables
        self._optimizer = optimizer(hp, updates)
        self._optimizer.build(self._variables)
        self._decay = hp.weight_decay if hp.optimizer in ("sgd", "nag") else 0.0
        strategy = tf.distribute.get_strategy()
        self._share = 1 / strategy.num_replicas_in_sync  # of the batch: optimizers add up the hosts' gradients
        self._update = tf.function(lambda images, labels: strategy.run(self._updated, (images, labels)))

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return float(self._optimizer.learning_rate)

    def __call__(
        self, images: NDArray[np.uint8] | NDArray[np.float32], labels: NDArray[np.int64]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Update on a batch and its labels int64 (N,); return loss () and probabilities (N, K)."""
        with hosts.together():
            return self._update(tf.convert_to_tensor(images), tf.convert_to_tensor(labels))

    def read(self, loss: tf.Tensor, probabilities: tf.Tensor) -> tuple[float, NDArray[np.float32]]:
        """Return the mean loss and the probabilities, float32 (N, K)."""
        return float(loss), probabilities.numpy()

    def _updated(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = _inputs(images, self._below)
        with tf.GradientTape() as tape:
            logits = self._above(inputs, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            if self._weights is not None:
                losses *= tf.gather(self._weights, labels)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._variables)
        pairs = zip(gradients, self._variables, strict=True)
        shares = [self._share * self._decayed(gradient, variable) for gradient, variable in pairs]
        self._optimizer.apply(shares, self._variables)
        return loss, tf.nn.softmax(logits)

    def _decayed(self, gradient: tf.Tensor, variable: keras.Variable) -> tf.Tensor:
        """Return the gradient with the weight decay of kernels: BatchNorm's shifts and scales must not decay."""
        return gradient + self._decay * variable if self._decay and variable.name in _KERNELS else gradient


class Frozen:
    """The layers that are not trained, and what they make of the photos, computed once as far as memory allows."""

    def __init__(self, below: keras.Model) -> None:
        self.features = networks.constant(below)
        self._bytes = 4 * int(np.prod(below.output_shape[1:]))

    def of_all(self, what: str, tensor: Callable[[int], NDArray[np.float32]], count: int) -> NDArray[np.float32] | None:
        """Return the features (count, ...) of photos, None when they would not fit in memory.

        `tensor(i)` is photo i, float32 (C, H, W). Says every ten seconds how far it is.
        """
        if count * self._bytes > samples.memory_budget() // 4:
            LOG.info(
                "The features of %d %s images would take %.1f GB: they are computed anew each epoch",
                *(count, what, count * self._bytes / 1e9),
            )
            return None
        found, progress = [], Progress(f"Features of {what} images", count)
        for batch in samples.in_order(tensor, count, EVALUATION_BATCH):
            found.append(self.features(_planes_last(batch)).numpy())
            progress.done(min(len(found) * len(batch), count))
        return np.concatenate(found)[:count]


class Statistics:
    """BatchNorm's moving statistics: before each evaluation, averages over batches as the weights are then."""

    def __init__(self, above: keras.Model, below: Below | None, batches: Batches[Batch], size: int) -> None:
        norms = [layer for layer in networks.norms(above) if layer.trainable]
        self._variables = [each for layer in norms for each in (layer.moving_mean, layer.moving_variance)]
        self._batches, self._count = batches, min(len(batches), -(-_STATISTICS // size))
        strategy = tf.distribute.get_strategy()

        def forward(images: tf.Tensor) -> tf.Tensor:
            return above(_inputs(images, below), training=True)

        self._forward = tf.function(lambda images: strategy.run(forward, (images,)))

    def estimate(self) -> None:
        """Set the statistics, the same on all hosts. Raises Stopped."""
        if not self._variables:
            return
        found = []
        for images, _ in islice(self._batches.epoch(0), self._count):
            stop.check()
            with hosts.together():
                self._forward(tf.convert_to_tensor(images))  # its momentum leaves what this batch has
            found.append(np.concatenate([variable.numpy() for variable in self._variables]).astype(np.float64))
        averages = hosts.mean(np.mean(found, axis=0))
        ends = np.cumsum([variable.shape[0] for variable in self._variables])
        for variable, values in zip(self._variables, np.split(averages, ends[:-1]), strict=True):
            variable.assign(values.astype(np.float32))


def _inputs(images: tf.Tensor, below: Below | None) -> tf.Tensor:
    """Return what the layers above the cut take, of a batch."""
    pixels = tf.cast(images, tf.float32)
    return pixels if below is None else below(pixels)


def _planes_last(batch: NDArray[np.float32]) -> tf.Tensor:
    return tf.convert_to_tensor(np.ascontiguousarray(batch.transpose(0, 2, 3, 1)))


class Evaluation:
    """The probabilities of the validation samples; with frozen layers their features are kept."""

    def __init__(self, network: Network, loaded: Data, frozen: Frozen | None) -> None:
        self._data, self._count = loaded, len(loaded.validation)
        self._below = frozen.features if frozen else None
        self._answer = tf.function(lambda batch: tf.nn.softmax(network.above(batch, training=False)))
        self._features = (
            frozen.of_all("validation", loaded.validation_tensor, self._count) if frozen is not None else None
        )

    def __call__(self) -> NDArray[np.float32]:
        """Return probabilities float32 (N, K). Raises Stopped."""
        found, progress = [], Progress("Validation images", self._count, SILENCE)
        for batch in samples.in_order(self._tensor, self._count, EVALUATION_BATCH):
            stop.check()
            found.append(self._answer(self._inputs(batch)).numpy())
            progress.done(min(len(found) * len(batch), self._count))
        return np.concatenate(found)[: self._count]

    def _tensor(self, index: int) -> NDArray[np.float32]:
        return self._data.validation_tensor(index) if self._features is None else self._features[index]

    def _inputs(self, batch: NDArray[np.float32]) -> tf.Tensor:
        if self._features is not None:
            return tf.convert_to_tensor(batch)
        pixels = _planes_last(batch)
        return pixels if self._below is None else self._below(pixels)


def fit(
    network: Network, loaded: Data, hp: Hyperparameters, best: Best, save: Callable[[int, bool], None], rank: int = 0
) -> None:
    """Train all epochs as `classifier.fit` does, as host `rank` of those of the current strategy. Raises Diverged.

    Above frozen layers and without augmentation, their features are all that the job needs, and are computed once.
    """
    frozen = Frozen(network.below) if network.below is not None else None
    features = None
    if frozen is not None and not datas.augments(hp):
        features = frozen.of_all("train", loaded.train_tensor, len(loaded.train))
    share = datas.Share(rank, tf.distribute.get_strategy().num_replicas_in_sync)
    batches: Batches[Batch] = (
        datas.PixelBatches(loaded, hp, share)
        if features is None
        else datas.feature_batches(features, loaded, hp, share)
    )
    labels = labelled.stack_labels(loaded.train)
    weights = class_weights(labels, len(loaded.class_names)) if hp.use_weighted_loss else None
    below = frozen.features if frozen is not None and features is None else None
    step = Step(network.above, below, weights, hp, len(batches))
    statistics = Statistics(network.above, below, batches, hp.mini_batch_size)
    answers = Evaluation(network, loaded, frozen)

    def evaluate() -> NDArray[np.float32]:
        statistics.estimate()
        return answers()

    classifier.fit(step, batches, evaluate, labelled.stack_labels(loaded.validation), hp, best, save)
