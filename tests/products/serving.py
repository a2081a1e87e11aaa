"""Models for tests/serve in folders like /opt/ml. Their predictions can be calculated by hand.

`classifier`, `detector` and `segmenter` compute the functions below on pixels from 0 to 1 (mean 0, standard deviation
1). `tensors` is a model of the task `tensors`. Names such as `detector-nan` are broken variants. `digests.json` holds
the training environment's results for photos (see tensors_and_masks).
"""

import hashlib
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from serve import preprocess
from serve.artifact import MODEL_ONNX, Artifact, InputSpec, Nms, write
from serve.tasks import masks
from serve.user_model.signature import Signature, Tensor, TensorModel
from serve.user_model.signature import write as write_signatures

if TYPE_CHECKING:
    import onnx

ENVIRONMENT = "mxnet"

FACTOR = 4.0
NAN = float("nan")
COLOURS = ("red", "green", "blue")


def make(folder: Path) -> None:
    """Fill `folder`."""
    _save(folder / "classifier", classification(), channel_means(FACTOR))
    _save(folder / "classifier-of-grey", classification(channels=1), channel_means(FACTOR, channels=1))
    _save(folder / "classifier-nan", classification(), channel_means(NAN))
    # This is finite for a black picture, which the server tries first.
    _save(folder / "classifier-overflow", classification(), channel_means(1e30, 1e30))
    _save(folder / "detector", detection(), cell_scores(0.9))
    _save(folder / "detector-nan", detection(), cell_scores(NAN))
    _save(folder / "segmenter", segmentation(), cell_logits(1.0))
    _save(folder / "segmenter-nan", segmentation(), cell_logits(NAN))
    _save(folder / "segmenter-overlap", segmentation(), cell_logits(1.0, stride=4))
    save_tensor_model(folder / "tensors" / "model")
    (folder / "digests.json").write_text(json.dumps(tensors_and_masks()))


def classification(channels: int = 3, rule: str = "crop") -> Artifact:
    """Return the description of channel_means, with an input of 8 x 8 pixels."""
    spec = InputSpec("data", channels, 8, 8, 10, rule, (0.0,) * channels, (1.0,) * channels)
    return Artifact("image-classification", "channel means", COLOURS[:channels], spec, "softmax")


def probabilities(*means: float) -> list[float]:
    """Return the predictions of `classifier` for an image with these channel means, from 0 to 1."""
    powers = [math.exp(FACTOR * mean) for mean in means]
    return [power / sum(powers) for power in powers]


def channel_means(*factors: float, channels: int = 3) -> "onnx.ModelProto":
    """Return a graph that computes softmax(mean of each channel x the factors)."""
    from onnx import TensorProto, helper

    values = [f"times-{number}" for number in range(len(factors) + 1)]
    names = [f"factor-{number}" for number in range(len(factors))]
    nodes = [
        helper.make_node("ReduceMean", ["data"], values[:1], axes=[2, 3], keepdims=0),
        *(helper.make_node("Mul", [values[n], name], [values[n + 1]]) for n, name in enumerate(names)),
        helper.make_node("Softmax", values[-1:], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [1], [value]) for name, value in zip(names, factors, strict=True)
    ]
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", channels, 8, 8])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", channels])]
    return _model(helper.make_graph(nodes, "channel means", inputs, outputs, constants))


def detection() -> Artifact:
    """Return the description of cell_scores, with an input of 16 x 16 pixels."""
    spec = InputSpec("data", 3, 16, 16, 16, "stretch", (0.0,) * 3, (1.0,) * 3)
    return Artifact("object-detection", "cell means", COLOURS, spec, "boxes", nms=Nms(0.45, 400, 0.05))


def cell_scores(weaker: float) -> "onnx.ModelProto":
    """Return a graph with the 4 x 4 cells of the image as anchors.

    The scores of red, green and blue are the channel means of a cell's inner pixels, which resizing does not mix with
    the next cell. Each cell has a second anchor, with scores times `weaker`, an eighth of a cell to the right. Their
    IoU is 7 / 9.
    """
    from onnx import TensorProto, helper, numpy_helper

    corners = [(x, y, x + 1, y + 1) for y in range(4) for x in range(4)]
    shifted = [(x0 + 1 / 8, y0, x1 + 1 / 8, y1) for x0, y0, x1, y1 in corners]
    constants = {
        "cells": np.array([[*corners, *shifted]], np.float32) / np.float32(4),
        "first": np.array([1, 1]),
        "last": np.array([16, 16]),
        "sides": np.array([2, 3]),
        "weaker": np.array(weaker, np.float32),
        "flat": np.array([0, 3, 16], np.int64),
        "one": np.array([-1, 1, 1], np.int64),
        "zero": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["data", "first", "last", "sides"], ["inner"]),
        helper.make_node("AveragePool", ["inner"], ["means"], kernel_shape=[2, 2], strides=[4, 4]),
        helper.make_node("Reshape", ["means", "flat"], ["by_class"]),
        helper.make_node("Transpose", ["by_class"], ["strong"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["strong", "weaker"], ["weak"]),
        helper.make_node("Concat", ["strong", "weak"], ["scores"], axis=1),
        # All images have the same boxes. Adding 0 times the image's mean gives them the right batch size.
        helper.make_node("ReduceMean", ["data"], ["mean"], axes=[1, 2, 3]),
        helper.make_node("Mul", ["mean", "zero"], ["nought"]),
        helper.make_node("Reshape", ["nought", "one"], ["for_each"]),
        helper.make_node("Add", ["cells", "for_each"], ["boxes"]),
    ]
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 16, 16])]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 32, 3]),
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 32, 4]),
    ]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _model(helper.make_graph(nodes, "cell scores", inputs, outputs, initial))


def segmentation() -> Artifact:
    """Return the description of cell_logits, with an input of 64 x 64 pixels."""
    spec = InputSpec("data", 3, 64, 64, 64, "pad", (0.0,) * 3, (1.0,) * 3)
    return Artifact("semantic-segmentation", "cell means", (*COLOURS, "black"), spec, "logits")


def cell_logits(black: float, stride: int = 8) -> "onnx.ModelProto":
    """Return a graph with logits per 8 x 8 cell: 20 times the means of red, green and blue, and the constant `black`.

    If `stride` is below 8, the cells overlap, which is not valid for a segmenter.
    """
    from onnx import TensorProto, helper, numpy_helper

    kernels = np.zeros((4, 3, 8, 8), np.float32)
    for channel in range(3):
        kernels[channel, channel] = 20 / 64
    constants = {"kernels": kernels, "bias": np.array([0, 0, 0, black], np.float32)}
    nodes = [helper.make_node("Conv", ["data", "kernels", "bias"], ["logits"], strides=[stride, stride])]
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, "H", "W"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4, "h", "w"])]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _model(helper.make_graph(nodes, "cell logits", inputs, outputs, initial))


def save_tensor_model(folder: Path) -> None:
    """Save a model with three signatures: the channel means of an image, the sum of two numbers, and unchanged text."""
    means = Tensor("image", "float32", (None, 8, 8, 3)), Tensor("means", "float32", (None, 3))
    a, b, total = (Tensor(name, "float32", (None,)) for name in ("a", "b", "sum"))
    words = Tensor("text", "string", (None,)), Tensor("same", "string", (None,))
    folder.mkdir(parents=True)
    _save_operator(folder / "means.onnx", "ReduceMean", *means, axes=[1, 2], keepdims=0)
    _save_operator(folder / "sum.onnx", "Add", a, b, total)
    _save_operator(folder / "words.onnx", "Identity", *words)
    (folder / MODEL_ONNX).touch()  # marks a model that needs no conversion
    signatures = {
        "serving_default": Signature(means[:1], means[1:], "means.onnx"),
        "sum": Signature((a, b), (total,), "sum.onnx"),
        "words": Signature(words[:1], words[1:], "words.onnx"),
    }
    write_signatures(TensorModel("three graphs", signatures), folder)


def tensors_and_masks() -> list[str]:
    """Return the SHA-256 of the arrays that serve.preprocess and serve.tasks.masks compute for photos and logits.

    The training and serving environments each call it and must agree on every bit.
    """
    random = np.random.default_rng(0)
    arrays = []
    for size, side in (((500, 375), 520), ((301, 400), 128), ((1200, 5), 64), ((9, 7), 64)):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (*size[::-1], 3)).astype(np.uint8)).save(file, "JPEG")
        for rule in ("crop", "stretch", "pad"):
            spec = InputSpec("data", 3, side, side, side, rule, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
            arrays.append(preprocess.load(file.getvalue(), spec))
        logits = random.normal(0, 3, (5, side // 8, side // 8)).astype(np.float32)
        arrays.append(masks.class_ids(logits, size, spec))
    return [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]


def _save(base: Path, described: Artifact, model: "onnx.ModelProto") -> None:
    from onnx import save

    write(described, base / "model")
    save(model, base / "model" / MODEL_ONNX)


def _save_operator(path: Path, operator: str, *tensors: Tensor, **attributes: object) -> None:
    """Save a graph of one operator. The last tensor is its output."""
    from onnx import TensorProto, helper, save

    kinds = {"float32": TensorProto.FLOAT, "string": TensorProto.STRING}
    infos = [helper.make_tensor_value_info(each.name, kinds[each.dtype], ["N", *each.shape[1:]]) for each in tensors]
    node = helper.make_node(operator, [tensor.name for tensor in tensors[:-1]], [tensors[-1].name], **attributes)
    save(_model(helper.make_graph([node], operator, infos[:-1], infos[-1:])), path)


def _model(graph: "onnx.GraphProto") -> "onnx.ModelProto":
    from onnx import helper

    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
