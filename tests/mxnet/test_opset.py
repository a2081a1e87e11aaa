"""The opset of graphs exported from MXNet: the lowest that supports their operators."""

from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np
import onnx
import pytest
from mxnet import gluon
from onnx import TensorProto, helper

from tests import opsets
from tests.mxnet.networks import pictures, randomize
from train import graph
from train.gluon import onnx as exporter
from train.image_classification import network as classifier
from train.object_detection import network as detector
from train.semantic_segmentation import network as segmenter
from train.weights import native

SIDE = 64


def classify() -> tuple[gluon.HybridBlock, mx.sym.Symbol]:
    net = classifier.build(18, 3, 3, 0)
    return net, mx.sym.softmax(net(mx.sym.var("data")))


def classify_small() -> tuple[gluon.HybridBlock, mx.sym.Symbol]:
    net = classifier.build(20, 3, 3, 0)
    return net, mx.sym.sigmoid(net(mx.sym.var("data")))


def detect() -> tuple[gluon.HybridBlock, mx.sym.Symbol]:
    net = detector.build("resnet-18", 2, SIDE, 0)
    return net, mx.sym.Group(list(net(mx.sym.var("data"))))


def detect_by_vgg() -> tuple[gluon.HybridBlock, mx.sym.Symbol]:
    net = detector.build("vgg-16", 2, SIDE, 0)
    return net, mx.sym.Group(list(net(mx.sym.var("data"))))


def segment(algorithm: str, backbone: str) -> tuple[gluon.HybridBlock, mx.sym.Symbol]:
    net = segmenter.build(algorithm, backbone, 3, 0)
    return net, segmenter.InferenceNet(net, SIDE, plain=True)(mx.sym.var("data"))


@pytest.mark.parametrize(
    "build",
    [
        classify,
        classify_small,
        detect,
        detect_by_vgg,
        lambda: segment("fcn", "resnet-18"),
        lambda: segment("psp", "resnet-50"),
        lambda: segment("deeplab", "resnet-50"),
    ],
    ids=["resnet", "cifar-resnet", "ssd-resnet", "ssd-vgg", "fcn", "psp", "deeplab"],
)
def test_a_graph_declares_the_lowest_opset_and_its_outputs_do_not_change(
    build: Callable[[], tuple[gluon.HybridBlock, mx.sym.Symbol]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, symbol = build()
    randomize(net)
    names = [f"output{number}" for number in range(len(symbol.list_outputs()))]
    declared, outputs = [], []
    for lower in (lambda model: None, graph.lower_opset):
        monkeypatch.setattr(graph, "lower_opset", lower)
        path = tmp_path / f"{len(declared)}.onnx"
        exporter.export(symbol, native.parameters(net), "data", (3, SIDE, SIDE), path, names)
        model = onnx.load(str(path))
        onnx.checker.check_model(model, full_check=True)
        declared.append((model.opset_import[0].version, model.ir_version))
        outputs.append(opsets.outputs(path, pictures(SIDE, 2)))
    assert declared[0][0] > 21
    assert declared[1] == (13, 7)
    for before, after in zip(*outputs, strict=True):
        assert np.ptp(before) > 0
        assert np.array_equal(before, after)


def lowered(node: onnx.NodeProto, version: int) -> int:
    """Return the opset after lowering a graph of opset `version` with one node, from x float32 (1, 3, 8, 8) to y."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    model = helper.make_model(
        helper.make_graph([node], "one", [x], [y]), opset_imports=[helper.make_opsetid("", version)]
    )
    graph.lower_opset(model)
    return int(model.opset_import[0].version)


@pytest.mark.parametrize(
    ("node", "opset"),
    [
        (helper.make_node("Relu", ["x"], ["y"]), 13),
        (helper.make_node("Gelu", ["x"], ["y"]), 20),  # new in 20
        (helper.make_node("ReduceMean", ["x", "axes"], ["y"]), 18),  # before 18, axes were an attribute
        (helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=0), 14),  # the attribute is new in 14
        (helper.make_node("HardSwish", ["x"], ["y"]), 14),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_the_opset_supports_all_operators_attributes_and_inputs(node: onnx.NodeProto, opset: int) -> None:
    assert lowered(node, 22) == opset


def test_a_graph_with_opset_13_or_lower_is_not_changed() -> None:
    assert [lowered(helper.make_node("Relu", ["x"], ["y"]), version) for version in (12, 13)] == [12, 13]
