"""Export MXNet networks to ONNX."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import mxnet as mx
import mxnet.onnx
import numpy as np
import onnx

from train.graph import BATCH, quiet, tidy


def export(
    symbol: mx.sym.Symbol,
    parameters: Mapping[str, mx.nd.NDArray],
    input_name: str,
    shape: Sequence[int],
    path: Path,
    outputs: Sequence[str],
) -> None:
    """Write an MXNet symbol as an ONNX graph, with the names `outputs` for its outputs, in order.

    `parameters` maps `arg:NAME` and `aux:NAME` to NDArrays. `shape` is the input's shape without the batch dimension,
    which is dynamic in the graph.
    """
    dynamic_shapes = [(BATCH, *shape)]
    named = {name.split(":", 1)[1]: value for name, value in parameters.items()}
    with quiet(logging.getLogger()):  # the exporter logs the temporary path
        mxnet.onnx.export_model(
            symbol, named, [(1, *shape)], np.float32, str(path), dynamic=True, dynamic_input_shapes=dynamic_shapes
        )
    model = onnx.load(str(path))
    tidy(model, input_name, outputs)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
