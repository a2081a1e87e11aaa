"""MobileNetV2's files of pretrained weights: their names, and where they come from."""

import re
from pathlib import Path

from train.weights import keras_files
from train.weights.pretrained import Files

_PUBLISHED = "storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2"
_NAME = re.compile(r"mobilenet_?v2.*?_(\d\.\d+)")


def _named_for(path: Path) -> str | None:
    """Return the network that a file is named for: `mobilenetv2_0.5` for mobilenet_v2_..._0.5_128_no_top.h5."""
    found = _NAME.search(path.name)
    return f"mobilenetv2_{float(found[1])}" if found else None


def _source(network: str) -> str:
    alpha = network.rpartition("_")[2]
    file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_128_no_top.h5"
    return f"such as {file} of {_PUBLISHED}, or the model.keras that a job left"


MOBILENETV2 = Files(keras_files.SUFFIXES, "{}.weights.h5", _named_for, _source)
