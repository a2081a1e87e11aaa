"""The base class for the model folders of the MXNet algorithms."""

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
    """Writes and reads the parameters of a network in MXNet's checkpoint format.

    The network is exported and checked on the CPU, even if it was trained on GPUs, because GPUs may use TF32.
    """

    modules = (mx, gluoncv, onnx, np)

    def __init__(
        self, net: gluon.Block, data: DataSummary, hp: CommonHyperparameters, network: str, output: str
    ) -> None:
        super().__init__(data, hp, network, output)
        self._net = net

    def write_weights(self, path: Path) -> None:
        """Write the current weights."""
        native.write_parameters(self._net, path)

    def read_weights(self, path: Path) -> None:
        """Move the network to the CPU and read weights that `write_weights` wrote."""
        devices.place(self._net, [mx.cpu()])
        native.read_parameters(self._net, path)

    def write_hyperparameters(self, path: Path) -> None:
        """Write the hyperparameters in SageMaker's format."""
        path.write_text(json.dumps(native.as_strings(self._hp.values()), indent=2))
