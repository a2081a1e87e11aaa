"""Detection of a model's pixel value range in the graph that a script exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from serve.user_model import saved_model


def image_values(path: Path) -> str:
    return saved_model.load(path, "model").model.signatures["serving_default"].image_values


def model(k: Any, *beginning: Any, dtype: str = "float32") -> Any:
    """Return a classifier that begins with these layers. `k` is Keras 2 or 3."""
    image = k.layers.Input((16, 16, 3), dtype=dtype)
    inside = image
    for layer in beginning:
        inside = layer(inside)
    inside = k.layers.GlobalAveragePooling2D()(k.layers.Conv2D(4, 3)(inside))
    return k.Model(image, k.layers.Dense(2, activation="softmax")(inside))


def only(k: Any, *layers: Any) -> Any:
    """Return a model of only these layers."""
    return k.Sequential([k.layers.Input((16, 16, 3)), *layers])


def scaled(k: Any, scale: float, offset: float = 0.0, **options: str) -> Any:
    return model(k, k.layers.Rescaling(scale, offset=offset), **options)


def normalized(k: Any, largest: float) -> Any:
    layer = k.layers.Normalization()
    layer.adapt(np.random.default_rng(0).random((8, 16, 16, 3), np.float32) * largest)
    return model(k, layer)


def batch_normalized(k: Any) -> Any:
    learned = k.layers.BatchNormalization()
    classifier = model(k, learned)
    learned.set_weights([np.ones(3), np.zeros(3), np.full(3, 120.0), np.full(3, 3600.0)])
    return classifier


def nested(k: Any) -> Any:
    return k.Sequential([k.layers.Input((8, 8, 3)), k.layers.Resizing(16, 16), scaled(k, 1 / 255)])


BEGINNINGS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "nothing": (model, ""),
    "Rescaling(1/255)": (lambda k: scaled(k, 1 / 255), "0..255"),
    "Rescaling(1/127.5, -1)": (lambda k: scaled(k, 1 / 127.5, -1), "0..255"),
    "Rescaling(1/255) of uint8": (lambda k: scaled(k, 1 / 255, dtype="uint8"), ""),  # integer inputs are pixels anyway
    "Rescaling(2, -1)": (lambda k: scaled(k, 2.0, -1), "0..1"),
    "Rescaling(0.5, 0.5)": (lambda k: scaled(k, 0.5, 0.5), "-1..1"),
    "Rescaling(127.5, 127.5)": (lambda k: scaled(k, 127.5, 127.5), "-1..1"),
    "Normalization of 0..255": (lambda k: normalized(k, 255), "0..255"),
    "Normalization of 0..1": (lambda k: normalized(k, 1), "0..1"),
    "augmentation, Rescaling(1/255)": (
        lambda k: model(k, k.layers.RandomFlip(), k.layers.RandomRotation(0.1), k.layers.Rescaling(1 / 255)),
        "0..255",
    ),
    "Resizing, a model of Rescaling(1/255)": (nested, "0..255"),
    "ZeroPadding, Rescaling(1/255)": (
        lambda k: model(k, k.layers.ZeroPadding2D(2), k.layers.Rescaling(1 / 255)),
        "0..255",
    ),
    "BatchNormalization of 0..255": (batch_normalized, "0..255"),
    "preprocess_input of mobilenet_v2": (lambda k: model(k, k.applications.mobilenet_v2.preprocess_input), "0..255"),
    "preprocess_input of resnet50": (lambda k: model(k, k.applications.resnet50.preprocess_input), "0..255"),
    "preprocess_input of densenet": (lambda k: model(k, k.applications.densenet.preprocess_input), "0..255"),
    "only Rescaling(1/255), a mean": (
        lambda k: only(k, k.layers.Rescaling(1 / 255), k.layers.GlobalAveragePooling2D()),
        "0..255",
    ),
    "only a sigmoid": (lambda k: only(k, k.layers.Activation("sigmoid")), ""),
}


@pytest.mark.parametrize("k", [tf_keras, keras], ids=["keras2", "keras3"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_the_range_of_pixel_values_is_detected_for_all_kinds_of_scaling(beginning: str, k: Any, tmp_path: Path) -> None:
    make, values = BEGINNINGS[beginning]
    make(k).export(str(tmp_path / "model"))
    assert image_values(tmp_path / "model") == values


def test_the_range_of_pixel_values_is_detected_in_a_tensorflow_1_graph(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        image = v1.placeholder(tf.float32, (None, 8, 8, 3))
        mean = tf.reduce_mean(image / v1.Variable(255.0, use_resource=False), (1, 2, 3))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "model"), {"image": image}, {"mean": mean})
    assert image_values(tmp_path / "model") == "0..255"
