"""From a float graph to a static int8 one, by ONNX Runtime's own tools, with what these networks need around them."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

# ONNX Runtime reports its sessions to its makers unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators with weights: where nearly all of the time goes, and what int8 makes faster."""
# What may be integers between two of them, so that a tensor need not become float and integer again.
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Pad", "Relu", "Reshape")


@dataclass(frozen=True)
class Plan:
    """A folded graph; its nodes that become integers, by name; of those the layers; the outputs of the last layers.

    The last layers, such as a classifier's only Gemm and a detector's heads, stay float with all that comes after them:
    they cost little, and a softmax of integers knows only 256 probabilities.
    """

    graph: Path
    nodes: tuple[str, ...]
    layers: tuple[str, ...]
    ends: tuple[str, ...]


def fold(graph: Path, folded: Path) -> None:
    """Write a float graph in which normalisations are part of the layers before them, and every node has its own name.

    tf2onnx leaves most of a MobileNetV2's BatchNorms as a Mul and an Add; unfolded, their weights are quantised apart.
    """
    quant_pre_process(str(graph), str(folded), skip_symbolic_shape=True)
    model = onnx.load(str(folded))
    for number, node in enumerate(model.graph.node):  # an empty name in a list of nodes stands for all that have none
        node.name = f"{node.op_type}_{number}"
    onnx.save(model, str(folded))


def plan(folded: Path) -> Plan:
    """Choose what of a folded graph becomes integers. Raises ValueError when no layer would."""
    nodes = onnx.load(str(folded), load_external_data=False).graph.node
    users: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    leading: set[str] = set()  # to a layer, by one or more nodes
    for node in reversed(nodes):  # ONNX has its nodes in the order of computing
        after = [user for name in node.output for user in users.get(name, ())]
        if any(user.op_type in LAYERS or user.name in leading for user in after):
            leading.add(node.name)
    layers = [node for node in nodes if node.op_type in LAYERS]
    integer = [node.name for node in nodes if node.name in leading and node.op_type in LAYERS + _BETWEEN]
    chosen = tuple(node.name for node in layers if node.name in leading)
    if not chosen:
        raise ValueError("the graph has no layer besides its last ones, so nothing becomes integers")
    ends = tuple(node.output[0] for node in layers if node.name not in leading)
    return Plan(folded, tuple(integer), chosen, ends)


@dataclass(frozen=True)
class Photos:
    """What calibrates: `tensors` float32 (C, H, W), the graph's `input`, and the file in which the ranges are kept."""

    input: str
    tensors: Iterator[NDArray[np.float32]]
    ranges: Path

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return one more input, as ONNX Runtime's reader of calibration data does."""
        tensor = next(self.tensors, None)
        return None if tensor is None else {self.input: tensor[np.newaxis]}


def quantize(
    plan: Plan, photos: Photos, out: Path, nodes: Collection[str], per_channel: bool = True, reduce_range: bool = True
) -> None:
    """Write the graph of the plan with `nodes`, some of the plan's, in integers: activations U8, weights S8.

    The photos are computed once, for all tensors: later calls take the ranges of the first. With `reduce_range` weights
    have 7 bits: two products of 8 bits may be more than a processor without VNNI adds up in 16.
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
