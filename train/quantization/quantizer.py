"""Convert a float graph to a statically quantized int8 graph with ONNX Runtime's tools."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

# ONNX Runtime sends telemetry unless it is disabled before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators with weights. They take nearly all of the time, and int8 makes them faster."""
# Operators that can be quantized between two layers, so that tensors need not be converted to float and back.
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Pad", "Relu", "Reshape")


@dataclass(frozen=True)
class Plan:
    """A folded graph, the names of the nodes and layers to quantize, and the outputs of the last layers, `ends`.

    The last layers, such as a classifier's only Gemm and a detector's heads, and everything after them stay in float:
    they take little time, and a softmax of integers has only 256 different probabilities.
    """

    graph: Path
    nodes: tuple[str, ...]
    layers: tuple[str, ...]
    ends: tuple[str, ...]


def fold(graph: Path, folded: Path) -> None:
    """Write a float graph with normalisations folded into the layers before them, and a unique name for every node.

    tf2onnx exports most of MobileNetV2's BatchNorms as a Mul and an Add, which would be quantized separately.
    """
    quant_pre_process(str(graph), str(folded), skip_symbolic_shape=True)
    model = onnx.load(str(folded))
    for number, node in enumerate(model.graph.node):  # in a list of nodes, an empty name matches all unnamed nodes
        node.name = f"{node.op_type}_{number}"
    onnx.save(model, str(folded))


def plan(folded: Path) -> Plan:
    """Choose which nodes of a folded graph to quantize. Raises ValueError if that leaves no layer."""
    nodes = onnx.load(str(folded), load_external_data=False).graph.node
    users: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    before_layer: set[str] = set()  # the nodes with a layer among their direct and indirect successors
    for node in reversed(nodes):  # ONNX stores nodes in topological order
        successors = [user for name in node.output for user in users.get(name, ())]
        if any(user.op_type in LAYERS or user.name in before_layer for user in successors):
            before_layer.add(node.name)
    layers = [node for node in nodes if node.op_type in LAYERS]
    quantized = [node.name for node in nodes if node.name in before_layer and node.op_type in LAYERS + _BETWEEN]
    chosen = tuple(node.name for node in layers if node.name in before_layer)
    if not chosen:
        raise ValueError("the graph has no layers except its last ones, so there is nothing to quantize")
    ends = tuple(node.output[0] for node in layers if node.name not in before_layer)
    return Plan(folded, tuple(quantized), chosen, ends)


@dataclass(frozen=True)
class Photos:
    """The calibration data: the graph's input name, tensors float32 (C, H, W), and a file that caches the ranges."""

    input: str
    tensors: Iterator[NDArray[np.float32]]
    ranges: Path

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next input or None: the interface of ONNX Runtime's CalibrationDataReader."""
        tensor = next(self.tensors, None)
        return None if tensor is None else {self.input: tensor[np.newaxis]}


def quantize(
    plan: Plan, photos: Photos, out: Path, nodes: Collection[str], per_channel: bool = True, reduce_range: bool = True
) -> None:
    """Write the plan's graph with `nodes`, a subset of the plan's, quantized: activations as U8, weights as S8.

    The first call measures the ranges of all tensors on the photos, and later calls reuse them. With `reduce_range`,
    weights have 7 bits, because without VNNI, a processor sums two 8-bit products in 16 bits, which may overflow.
    """
    quantize_static(
        str(plan.graph),
        str(out),
        photos,
        op_types_to_quantize=[*LAYERS, *_BETWEEN],
        per_channel=per_channel,
        reduce_range=reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=list(nodes),
        calibration_cache_path=str(photos.ranges),
    )
