"""What the model folders of the MXNet algorithms share: native weights, hyperparameters as texts, versions."""

import json
from pathlib import Path

import gluoncv
import mxnet as mx
import numpy as np
import onnx
from mxnet import gluon

from train.gluon import devices
from train.hyperparameter_types import CommonHyperparameters
from train.learner import K
from train.model_folder import DataSummary, Model
from train.weights import native


class GluonModel(Model[K]):
    """Writes and reads the parameters of a network as MXNet's checkpoints have them.

    Whatever devices train it, it is exported and checked on the CPU, where float32 products are exact.
    """

    modules = (mx, gluoncv, onnx, np)

    def __init__(
        self, net: gluon.Block, data: DataSummary, hp: CommonHyperparameters, network: str, output: str
    ) -> None:
        super().__init__(data, hp, network, output)
        self._net = net

    def write_weights(self, path: Path) -> None:
        """Write the weights as they are now."""
        native.write_parameters(self._net, path)

    def read_weights(self, path: Path) -> None:
        """Go back to weights that `write_weights` has written, on the CPU from here on."""
        devices.place(self._net, [mx.cpu()])
        native.read_parameters(self._net, path)

    def write_hyperparameters(self, path: Path) -> None:
        """Write the hyperparameters as SageMaker passes them."""
        path.write_text(json.dumps(native.as_texts(self._hp.values()), indent=2))
