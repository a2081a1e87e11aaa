"""The names and sources of MobileNetV2's pretrained weights."""

import re
from pathlib import Path

from train.weights import keras_files
from train.weights.pretrained import Files

_PUBLISHED = "storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2"
_NAME = re.compile(r"mobilenet_?v2.*?_(\d\.\d+)")


def _named_for(path: Path) -> str | None:
    """Return the network in a file name: `mobilenetv2_0.5` for mobilenet_v2_..._0.5_128_no_top.h5."""
    match = _NAME.search(path.name)
    return f"mobilenetv2_{float(match[1])}" if match else None


def _source(network: str) -> str:
    alpha = network.rpartition("_")[2]
    file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_128_no_top.h5"
    return f"such as {file} from {_PUBLISHED}, or the model.keras of an earlier job"


MOBILENETV2 = Files(keras_files.SUFFIXES, "{}.weights.h5", _named_for, _source)
