"""Helpers for networks: weights that exercise the whole graph, and a check for the weights of a torchvision file."""

from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon

from tests.mxnet.weight_files import weight_file
from train.weights import pretrained
from train.weights.files import gluoncv_name, read


def randomize(net: gluon.Block) -> None:
    """Set weights that exercise the whole graph. Initially, blocks are the identity and means are zero."""
    for name, parameter in net.collect_params().items():
        if name.endswith("gamma"):
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
        elif name.endswith("running_mean"):
            parameter.set_data(mx.nd.random.normal(0, 0.1, parameter.shape))
        elif name.endswith("weight") and ("classes" in name or "boxes" in name):  # a detector's heads start near zero
            parameter.set_data(mx.nd.random.normal(0, 0.02, parameter.shape))


def assert_resnet_18_is_loaded(net: gluon.Block, folder: Path, own_layers: tuple[str, ...]) -> None:
    """Load a torchvision ResNet-18 file into `net`, and check that all values are set except in `own_layers`."""
    file = weight_file("resnet18", folder)
    report = pretrained.load_into(net, file, "resnet18")
    assert report.loaded == 100
    assert all(name.startswith(own_layers) for name in report.fresh), report.fresh
    parameters = net._collect_params_with_prefix()
    named = {gluoncv_name(name): value for name, value in read(file, "resnet18").items()}
    for name in named.keys() & parameters.keys():
        np.testing.assert_array_equal(parameters[name].data().asnumpy(), named[name], name)


def pictures(side: int, count: int) -> np.ndarray:
    """Return pictures of noise, float32 (count, 3, side, side)."""
    return np.random.default_rng(1).normal(size=(count, 3, side, side)).astype(np.float32)
