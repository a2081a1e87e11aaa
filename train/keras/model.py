"""The job of a Keras classifier: prepare its network and data, and define its model folder."""

import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Set before TensorFlow is loaded, so that its messages about the machine do not appear in the job's log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from serve import artifact
from train import model_folder
from train.classification import predictions
from train.classification.labelled import stack_labels
from train.data.samples import Shard
from train.epoch import Batches
from train.job.peers import ALONE, Peers
from train.job.training import Job, Prepared
from train.keras import data, devices, hosts, network
from train.keras.data import Batch, Data, H
from train.keras.evaluation import Evaluation, Statistics
from train.keras.features import Frozen
from train.keras.hyperparameters import KerasHyperparameters
from train.keras.log_lines import KerasLines
from train.keras.network import Network
from train.keras.step import Result, Step, class_weights
from train.learner import Best, Learner
from train.log import LOG
from train.verify import Check
from train.weights import keras_files, pretrained
from train.weights.pretrained import Files

Kept = NDArray[np.float64]


def prepare(job: Job[H], name: str, files: Files, build: Callable[[H], Network]) -> Prepared:
    """Read the data and build the network on all hosts. Raises UserError for invalid input.

    `name` names the network and its pretrained weights, which `files` describes. `build` builds the network.
    """
    count = job.peers.count
    hosts.check(count, job.hp.mini_batch_size)
    chosen = devices.choose(job.environ, job.hp.mini_batch_size // count, count > 1)
    strategy = hosts.strategy(job.peers.hosts, chosen)
    with strategy.scope():
        weights = pretrained.find_if_requested(job.hp, job.channels, name, job.environ, files)
        loaded, hp = data.load(job.channels, job.hp, job.peers)
        net = build(hp)
        if weights is not None:
            arrays = keras_files.load_into(net.base, weights, name, files.source(name))
            LOG.info("Pretrained weights: %d arrays of %s from %s; untrained: the head", arrays, name, weights)
        rebuild = (lambda: build(hp)) if tf.distribute.has_strategy() else None
        learner = replace(
            create_learner(net, loaded, hp, job.peers), devices=lambda: devices.used(hp.mini_batch_size, chosen)
        )
        return learner, Model(net, loaded, hp, name, rebuild)


def create_learner(
    net: Network, loaded: Data, hp: KerasHyperparameters, peers: Peers = ALONE
) -> Learner[Batch, Result, Kept]:
    """Return the learner of the network for these hosts and the current strategy.

    If lower layers are frozen and there is no augmentation, their features are computed once and replace the photos.
    """
    share = Shard(peers.rank, peers.count)
    frozen = Frozen(net.below) if net.below is not None else None
    features = None
    if frozen is not None and not data.augments(hp):
        features = frozen.compute_all("train", loaded.train_tensor, len(loaded.train))
    batches: Batches[Batch] = (
        data.PixelBatches(loaded, hp, share) if features is None else data.feature_batches(features, loaded, hp, share)
    )
    below = frozen.features if frozen is not None and features is None else None
    weights = class_weights(stack_labels(loaded.train), len(loaded.class_names)) if hp.use_weighted_loss else None
    step = Step(net.above, below, weights, hp, len(batches))
    statistics = Statistics(net.above, below, batches, hp.mini_batch_size, peers)
    evaluation = Evaluation(net, loaded, statistics, frozen, hp.top_k, peers)
    return Learner(batches, step, evaluation, KerasLines(hp.top_k))


class Model(model_folder.Model[Kept]):
    """The model folder, with one Keras file for the weights.

    For several hosts or devices, `rebuild` builds the network again without the strategy, because distributed variables
    cannot be exported.
    """

    task, weights = artifact.CLASSIFICATION, "model.keras"
    modules = (tf, keras, tf2onnx, onnx, np)
    _data: Data
    _hp: KerasHyperparameters

    def __init__(
        self, net: Network, loaded: Data, hp: KerasHyperparameters, name: str, rebuild: Callable[[], Network] | None
    ) -> None:
        super().__init__(loaded, hp, name, "softmax")
        self._net, self._rebuild = net, rebuild
        self._strategy = tf.distribute.get_strategy()

    def write_weights(self, path: Path) -> None:
        """Write the current network."""
        with self._strategy.scope():
            network.save(self._net.model, path)

    def read_weights(self, path: Path) -> None:
        """Read weights that `write_weights` wrote."""
        if self._rebuild is not None:
            self._net = self._rebuild()
        self._net.model.load_weights(path)

    def identity(self) -> dict[str, Any]:
        """Return the properties that a checkpoint and a job must share, with a checksum of the frozen layers.

        The checkpoint itself does not contain the frozen layers.
        """
        below = self._net.below
        checksum = 0
        for weight in [] if below is None else below.get_weights():
            checksum = zlib.crc32(weight, checksum)
        return {**super().identity(), "checksum of the frozen layers": f"{checksum:08x}"}

    def export(self, path: Path) -> None:
        """Write the network as an ONNX graph."""
        network.to_onnx(self._net.model, path)

    def check(self, best: Best[Kept]) -> Check:
        """Return the inputs and expected outputs of the final checks."""
        return predictions.check(self._data, best, self._predict, "TensorFlow")

    def _predict(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._net.model(tensors.transpose(0, 2, 3, 1), training=False).numpy()
