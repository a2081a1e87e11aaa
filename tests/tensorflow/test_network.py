"""The network of image-classification-tensorflow: its trained part, its head, and its graph for ONNX Runtime."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from serve import artifact
from serve.artifact import Artifact, InputSpec
from tests import opsets
from tests.tensorflow import small
from train import graph
from train.classification.predictions import OUTPUT
from train.keras.network import constant, to_onnx
from train.verify import Check, verify


@pytest.mark.parametrize(
    ("layers", "trained", "first_kernel"),
    [
        ("head", 2, None),
        (1, 5, "Conv_1"),
        (2, 14, "block_16_expand"),
        (3, 23, "block_15_expand"),
        (18, 155, "expanded_conv_project"),
        ("all", 158, "Conv1"),
    ],
)
def test_a_split_network_predicts_like_the_whole_and_trains_from_the_requested_block(
    layers: str | int, trained: int, first_kernel: str | None
) -> None:
    net = small.built(train_layers=layers)
    pixels = small.photos().astype(np.float32)
    features = pixels if net.below is None else constant(net.below)(pixels)
    in_parts, whole = tf.nn.softmax(net.above(features, training=False)), net.model(pixels, training=False)
    assert in_parts.numpy() == pytest.approx(whole.numpy(), abs=1e-4)  # fused layers round differently
    kernels = [layer.name for layer in net.above.layers if isinstance(layer, keras.layers.Conv2D) and layer.trainable]
    assert (len(net.above.trainable_variables), next(iter(kernels), None)) == (trained, first_kernel)


def test_two_classes_use_one_sigmoid_that_is_expanded_to_two_probabilities() -> None:
    net = small.built(num_classes=2)
    pixels = small.photos(4).astype(np.float32)
    unit = net.model.get_layer("logits")
    unit.kernel.assign(tf.random.stateless_normal(unit.kernel.shape, (1, 2)))
    sigmoid = tf.sigmoid(unit(net.base(pixels, training=False))).numpy()[:, 0]
    first, second = net.model(pixels, training=False).numpy().T
    assert np.ptp(sigmoid) > 1e-3
    assert second == pytest.approx(sigmoid, abs=1e-6)
    assert first == pytest.approx(1 - sigmoid, abs=1e-6)


def end(value: Any) -> tuple[str, int, list[str | int]]:
    """Return name, element type and shape of a graph's input or output."""
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [axis.dim_param or axis.dim_value for axis in tensor.shape.dim]


@pytest.mark.parametrize(
    ("overrides", "shape", "classes"),
    [
        ({"train_layers": 3}, (3, 32, 32), 3),
        ({"image_shape": "1,32,48"}, (1, 32, 48), 3),
        ({"num_classes": 2, "alpha": 0.5}, (3, 32, 32), 2),
    ],
    ids=["split", "grey", "two classes"],
)
def test_the_exported_graph_takes_channels_first_pixels_and_predicts_like_keras(
    overrides: dict[str, object], shape: tuple[int, int, int], classes: int, tmp_path: Path
) -> None:
    net = small.built(**overrides)
    to_onnx(net.model, tmp_path / artifact.MODEL_ONNX)
    assert [path.name for path in tmp_path.iterdir()] == [artifact.MODEL_ONNX]
    graph = onnx.load(tmp_path / artifact.MODEL_ONNX).graph
    assert [end(value) for value in graph.input] == [("data", onnx.TensorProto.FLOAT, ["N", *shape])]
    assert [end(value) for value in graph.output] == [("probabilities", onnx.TensorProto.FLOAT, ["N", classes])]

    spec = InputSpec("data", *shape, 32, "crop", (0.0,) * shape[0], (1 / 255,) * shape[0])
    names = tuple(str(number) for number in range(classes))
    artifact.write(Artifact(artifact.CLASSIFICATION, "mobilenetv2", names, spec, "softmax", {}, {}, {}), tmp_path)
    tensors = np.random.default_rng(1).uniform(0, 255, (3, *shape)).astype(np.float32)
    predictions = net.model(tensors.transpose(0, 2, 3, 1), training=False).numpy()
    assert np.ptp(predictions) > 1e-3
    # This runs ONNX Runtime in the serving environment.
    verify(tmp_path, Check(tensors, {OUTPUT: predictions}, [], lambda _: 0.0, 0.0, tolerance=1e-5))


def test_a_layer_is_named_if_the_exporter_omits_its_constants(tmp_path: Path) -> None:
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.layers.Normalization(mean=[1.0] * 3, variance=[1.0] * 3, name="scaled")(pixels))
    with pytest.raises(ValueError, match=r"^the ONNX graph has inputs besides data: \S*scaled"):
        to_onnx(model, tmp_path / "model.onnx")


def test_a_graph_declares_the_lowest_opset_and_its_outputs_do_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = small.built()
    pixels = small.photos(4).astype(np.float32).transpose(0, 3, 1, 2)
    declared, outputs = [], []
    for lower in (lambda model: None, graph.lower_opset):
        monkeypatch.setattr(graph, "lower_opset", lower)
        path = tmp_path / f"{len(declared)}.onnx"
        to_onnx(net.model, path)
        model = onnx.load(str(path))
        onnx.checker.check_model(model, full_check=True)
        declared.append({opset.domain: opset.version for opset in model.opset_import}[""])
        outputs.append(opsets.outputs(path, pixels)[0])
    assert declared[0] > declared[1] == 13
    assert np.ptp(outputs[0]) > 0
    assert np.array_equal(*outputs)
