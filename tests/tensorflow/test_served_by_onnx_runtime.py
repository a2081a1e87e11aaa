"""Models of user scripts in the real `serve`, which converts them for ONNX Runtime on startup."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from serve.user_model import discovery
from tests.environments import REPOSITORY
from tests.photos import encode
from tests.server import Server
from tests.tensorflow.served import predict, ready


class Sums(tf.Module):
    """A model with two functions: one with a single input, and one with several inputs and outputs."""

    def __init__(self, tens: float) -> None:
        self.weights = tf.Variable([[1.0], [tens]])

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def weigh(self, x: Any) -> dict[str, Any]:
        return {"y": x @ self.weights}

    @tf.function(
        input_signature=[tf.TensorSpec((None,), tf.float32, name="b"), tf.TensorSpec((None,), tf.int32, name="a")]
    )
    def both(self, b: Any, a: Any) -> dict[str, Any]:
        return {"sum": b + tf.cast(a, tf.float32), "larger": b > tf.cast(a, tf.float32)}


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like /opt/ml with two versions of the model."""
    base = tmp_path_factory.mktemp("sums")
    for number in (1, 2):
        sums = Sums(10.0 * number)
        signatures = {"serving_default": sums.weigh, "both": sums.both}
        tf.saved_model.save(sums, str(base / "model" / "export" / str(number)), signatures=signatures)
    return base


@pytest.fixture(scope="module")
def sums(two_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the model, perhaps not ready yet."""
    with Server(two_versions, TMPDIR=str(tmp_path_factory.mktemp("tmp"))) as server:
        yield server


def test_a_saved_model_is_converted_while_ping_returns_503_and_then_served(sums: Server) -> None:
    sums.wait_for("converting model/export/2 for ONNX Runtime")
    status, _, body = sums.request("GET", "/ping")
    assert status in (200, 503)  # 200 on a fast machine
    assert status == 200 or "The model is being converted" in json.loads(body)["reason"]
    ready(sums)
    assert sums.wait_for("model/export/2 was converted: 4 checks, largest difference from TensorFlow ")
    assert predict(sums, {"instances": [[1, 2], [3, 4]]}) == (200, {"predictions": [[41.0], [83.0]]})
    assert predict(sums, {"inputs": {"x": [[1, 2]]}}) == (200, {"outputs": [[41.0]]})
    assert predict(sums, [1, 2]) == (200, {"predictions": [[41.0]]})


def test_the_highest_version_is_served_with_all_its_signatures(sums: Server) -> None:
    rows = {"signature_name": "both", "instances": [{"a": 1, "b": 0.5}, {"a": 2, "b": 4}]}
    expected = [{"larger": False, "sum": 1.5}, {"larger": True, "sum": 6.0}]
    assert predict(ready(sums), rows) == (200, {"predictions": expected})


def test_errors_are_json_with_the_reason(sums: Server) -> None:
    status, response = predict(ready(sums), {"instances": [[1, 2, 3]]})
    assert (status, response["status"]) == (400, 400)
    assert response["reason"].startswith("\"instances\" has the shape (1, 3); input 'x' takes float32 (any, 2)")
    status, response = predict(sums, {"signature_name": "both", "inputs": {"a": [1, 2, 3], "b": [1, 2]}})
    assert status == 400
    assert response["reason"].startswith("The model cannot compute this input: ")
    sums.wait_for("400 POST /invocations: The model cannot compute this input: .withheld.")
    assert not [line for line in sums.log() if "onnxruntime" in line], "ONNX Runtime's log lines would not be escaped"
    assert sums.request("POST", "/invocations", b"", {"Content-Type": "application/zip"})[0] == 415


def test_sigterm_during_a_conversion_exits_with_0_and_leaves_no_files(two_versions: Path, tmp_path: Path) -> None:
    with Server(two_versions, TMPDIR=str(tmp_path)) as server:
        server.wait_for("converting")
        server.terminate()
        assert server.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


# ---- Keras files ------------------------------------------------------------------------------------------------


def colours(k: Any, scale: float, offset: float) -> Any:
    """Return a model that distinguishes red, green and blue. `k` is Keras 2 or 3.

    It computes a softmax of 4 x the mean of each channel after rescaling with `scale` and `offset`.
    """
    layers = [
        k.layers.Input((16, 16, 3)),
        k.layers.Rescaling(scale, offset=offset),
        k.layers.Conv2D(3, 1, use_bias=False),
        k.layers.GlobalAveragePooling2D(),
        k.layers.Dense(3, activation="softmax", use_bias=False),
    ]
    model = k.Sequential(layers)
    model.set_weights([np.eye(3).reshape(1, 1, 3, 3), 4 * np.eye(3)])
    return model


@pytest.mark.parametrize(
    ("k", "scale", "offset", "engine", "line"),
    [
        (tf_keras, 1 / 255, 0.0, "onnx", "with ONNX Runtime"),
        (keras, 1 / 127.5, -1.0, "onnx", "with ONNX Runtime"),
        (keras, 1 / 127.5, -1.0, "tensorflow", "with TensorFlow"),
    ],
    ids=["keras2", "keras3", "keras3-tensorflow"],
)
def test_a_keras_file_is_served_and_gets_photos_as_0_to_255_if_it_rescales_them(
    k: Any, scale: float, offset: float, engine: str, line: str, tmp_path: Path
) -> None:
    model = colours(k, scale, offset)
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    for folder in ("model", "temporary"):
        (tmp_path / folder).mkdir()
    model.save(str(tmp_path / "model" / "model.keras"))
    with Server(tmp_path, TMPDIR=str(tmp_path / "temporary"), VISION_ENGINE=engine) as server:
        predicted = [pytest.approx(row, abs=1e-5) for row in model(pixels).numpy().tolist()]
        assert predict(ready(server), {"instances": pixels.tolist()}) == (200, {"predictions": predicted})
        server.wait_for(line)

        assert "values 0..255, because its graph expects this range" in server.wait_for("images are sent to the model")
        low, high = (math.exp(4 * (value * scale + offset)) for value in (0, 255))
        for channel, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
            photo = encode(Image.new("RGB", (20, 30), colour), "PNG")
            _, _, body = server.request("POST", "/invocations", photo, {"Content-Type": "image/png"})
            expected = [(high if place == channel else low) / (high + 2 * low) for place in range(3)]
            assert json.loads(body) == {"predictions": [pytest.approx(expected, abs=1e-4)]}

        assert list((tmp_path / "temporary").iterdir()), "the converted model is not under the temporary folder"
        server.terminate()
        assert server.wait(60) == 0
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_image_without_tensorflow_exits_and_names_the_right_image(two_versions: Path, tmp_path: Path) -> None:
    """The serving environment has no other environment next to it, as in the image `inference`."""
    isolated, ours = tmp_path / "alone" / "serve", REPOSITORY / ".venvs" / "serve"
    shutil.copytree(ours, isolated, symlinks=True, ignore=shutil.ignore_patterns("lib*", "include"))
    (isolated / "lib").symlink_to((ours / "lib").resolve())
    with Server(two_versions, interpreter=isolated / "bin" / "python") as server:
        assert server.wait(60) == 1
        line = server.wait_for("serve: ")
    reason = "is a TensorFlow model without a model.onnx, and this image cannot convert it"
    assert f"{two_versions / 'model' / 'export' / '2'} {reason}" in line
    assert line.endswith(f"Use the image {discovery.IMAGE}.")
