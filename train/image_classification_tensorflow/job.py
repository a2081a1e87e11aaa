"""One training job of image-classification-tensorflow, from top to bottom."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

# Before TensorFlow is loaded: its remarks on the machine would stand among the job's lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

import serve
from serve import artifact
from train import classifier, export
from train.classifier import Best
from train.data import channels
from train.divergence import Diverged, rescue
from train.errors import UserError
from train.image_classification_tensorflow import data, hosts, hyperparameters, loop, network
from train.image_classification_tensorflow.hyperparameters import Hyperparameters
from train.image_classification_tensorflow.network import Network
from train.job import cluster, earlier
from train.job.cluster import Hosts
from train.log import LOG
from train.weights import keras_files, pretrained

NATIVE = "model.keras"


def run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Train as `raw` hyperparameters and the channels under `base`/input say; leave the artifact in `base`/model.

    Raises UserError for the user's mistakes and TrainError for ours.
    """
    hp = hyperparameters.check(raw)
    hyperparameters.say(hp)
    everyone = cluster.hosts(base)
    hosts.check(everyone, hp)
    together = hosts.strategy(everyone)
    with together.scope():
        net, loaded, hp = _begin(base, hp, environ)
    model, best = Model(base / "model", net, loaded, hp, everyone), Best()
    try:
        with together.scope():
            loop.fit(net, loaded, hp, best, model.save, everyone.rank)
    except Diverged as error:
        raise UserError(f"{error}; {rescue(lambda: model.finish(best), base / 'model', best.epoch)}") from error
    model.finish(best)
    with together.scope():
        hosts.meet()


def _begin(base: Path, hp: Hyperparameters, environ: Mapping[str, str]) -> tuple[Network, data.Data, Hyperparameters]:
    """Return the network, with pretrained weights if they are asked for, the data, and `hp` with its classes."""
    found = channels.load(base / "input")
    name = network.name(hp.alpha)
    weights = pretrained.wanted(hp, found, name, environ, pretrained.KERAS)
    loaded, hp = data.load(found, hp)
    hosts.check_alike([sample.name for sample in loaded.train])
    net = network.build(hp)
    if weights is not None:
        count = keras_files.load_into(net.base, weights, name)
        LOG.info("Pretrained weights: %d arrays of %s from %s; starts untrained: the head", count, name, weights)
    return net, loaded, hp


class Model:
    """The model folder: the best epoch as a Keras file as training goes on, the rest at its end.

    Of several hosts the first one alone writes it.
    """

    def __init__(self, folder: Path, net: Network, loaded: data.Data, hp: Hyperparameters, everyone: Hosts) -> None:
        self._folder, self._net, self._data, self._hp = folder, net, loaded, hp
        self._writes, self._alone = everyone.rank == 0, len(everyone.names) == 1
        self._kept: list[NDArray[np.float32]] = []
        earlier.set_aside(folder)

    def save(self, epoch: int, best: bool) -> None:
        """Write the network as it is now in the place of an earlier epoch's, unless an earlier one was better."""
        if not (best and self._writes):
            return
        self._kept = network.weights(self._net.model)
        path = self._folder / NATIVE
        network.save(self._net.model, path)
        LOG.info('Saved epoch %d to "%s"', epoch, path)

    def finish(self, best: Best) -> None:
        """Export the best epoch, describe it, and prove that the server's code gives what training logged."""
        if not self._writes:
            return
        if not self._alone:  # the shared network's variables cannot be exported
            self._net = network.build(self._hp)
        self._net.model.set_weights(self._kept)
        network.to_onnx(self._net.model, self._folder / artifact.MODEL_ONNX)
        with export.writing(self._folder / artifact.MODEL_JSON):
            artifact.write(self._describe(best), self._folder)
        classifier.verify(self._folder, self._data, best, self._predict, "TensorFlow")
        LOG.info(
            "The model of epoch %d is in %s: %s (epochs count from 0)",
            best.epoch,
            self._folder,
            export.names(self._folder),
        )

    def _predict(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._net.model(tensors.transpose(0, 2, 3, 1), training=False).numpy()

    def _describe(self, best: Best) -> artifact.Artifact:
        return artifact.Artifact(
            task=artifact.CLASSIFICATION,
            network=network.name(self._hp.alpha),
            class_names=self._data.class_names,
            input=self._data.spec,
            output="softmax",
            hyperparameters=self._hp.values(),
            metrics={"epoch": best.epoch, **best.metrics},
            versions=_versions(),
        )


def _versions() -> dict[str, str]:
    """Return the versions of what trained the model, for model.json."""
    return {
        "sagemaker-vision-containers": serve.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "tf2onnx": tf2onnx.__version__,
        "onnx": metadata.version("onnx"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
