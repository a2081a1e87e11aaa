"""A training job of image-classification: network, data and model folder."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon
from numpy.typing import NDArray

from serve import artifact
from train.classification import predictions
from train.classification.predictions import OUTPUT
from train.gluon import devices, hosts, onnx, precision
from train.gluon.model import GluonModel
from train.image_classification import data, hyperparameters, network
from train.image_classification.data import Data
from train.image_classification.evaluation import activation, evaluate
from train.image_classification.hyperparameters import Hyperparameters
from train.image_classification.log_lines import ResNetLines
from train.image_classification.step import Step, loss_function
from train.job.training import Algorithm, Job, Prepared
from train.learner import Best, Learner
from train.verify import Check
from train.weights import native, pretrained


def prepare(job: Job[Hyperparameters]) -> Prepared:
    """Read the data and build the network. Raises UserError if the data or hyperparameters are invalid."""
    hp = job.hp
    name = network.name(hp.num_layers)
    chosen = devices.choose(job.environ, hp.mini_batch_size)
    half = precision.is_half(hp.precision_dtype, chosen)
    weights = pretrained.find_if_requested(hp, job.channels, name, job.environ)
    loaded = data.load(job.channels, hp, job.peers)
    net = network.build(hp.num_layers, hp.num_classes, hp.image_shape[0], hp.seed)
    if weights is not None:
        pretrained.load_into(net, weights, name)
    chosen.place(net)
    learner = Learner(
        loaded.train_batches(hp),
        Step(net, loss_function(hp, loaded.labels.train), hp, half, hosts.connect(job.peers)),
        lambda: evaluate(net, loaded, hp),
        ResNetLines(hp.top_k),
        devices=chosen.used,
    )
    return learner, Model(net, loaded, hp)


ALGORITHM = Algorithm(hyperparameters.check, prepare)


class Model(GluonModel[NDArray[np.float64]]):
    """The model folder, with the built-in's file names. The weights of epoch 0 are in file 1."""

    task, weights = artifact.CLASSIFICATION, "image-classification-{:04d}.params"
    _data: Data
    _hp: Hyperparameters

    def __init__(self, net: gluon.HybridBlock, loaded: Data, hp: Hyperparameters) -> None:
        output = "sigmoid" if hp.multi_label else "softmax"
        super().__init__(net, loaded, hp, network.name(hp.num_layers), output)
        self.checkpoint_frequency = hp.checkpoint_frequency

    def companions(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the functions that write what MXNet needs for deployment: the symbol and the input shape."""
        shapes = [{"name": "data", "shape": [1, *self._hp.image_shape]}]
        return {
            "image-classification-symbol.json": lambda path: self._symbol("softmax", native=True).save(str(path)),
            "model-shapes.json": lambda path: path.write_text(json.dumps(shapes)),
        }

    def export(self, path: Path) -> None:
        """Write the network with its activation as an ONNX graph."""
        symbol = self._symbol(OUTPUT, native=False)
        onnx.export(symbol, native.parameters(self._net), "data", self._hp.image_shape, path, (OUTPUT,))

    def check(self, best: Best[NDArray[np.float64]]) -> Check:
        """Return the inputs and expected outputs of the final checks."""
        return predictions.check(self._data, best, self._predict, "MXNet")

    def _predict(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        return activation(self._hp)(self._net(mx.nd.array(tensors))).asnumpy()

    def _symbol(self, name: str, native: bool) -> mx.sym.Symbol:
        """Return the network with its activation: a plain operator or, if `native`, an output layer of MXNet.

        The built-in's symbol files have such an output layer.
        """
        logits = self._net(mx.sym.var("data"))
        if self._hp.multi_label:
            return mx.sym.LogisticRegressionOutput(logits, name=name) if native else mx.sym.sigmoid(logits, name=name)
        return mx.sym.SoftmaxOutput(logits, name=name) if native else mx.sym.softmax(logits, name=name)
