"""The network: Keras's MobileNetV2 with a head of our own, cut in two where training begins."""

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import keras
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from train.classification.answers import OUTPUT
from train.graph import quiet, tidy
from train.image_classification_tensorflow.hyperparameters import ALL, BLOCKS, HEAD, Hyperparameters, TrainLayers

# MobileNetV2 in Keras has 0.999: after 300 updates the moving statistics are still a quarter of what they began as,
# and validation at chance. Even 0.9 lags behind weights that move fast. So training keeps the last batch's statistics,
# and before each evaluation they are averaged over many batches: evaluation.Statistics. The Keras file, which
# others may train on, has MXNet's and PyTorch's 0.9.
_MOMENTUM, _SAVED_MOMENTUM = 0.0, 0.9
# The inverted residuals of stride 1 with as many channels out as in: Sandler et al. 2018, table 2.
_ADDS = (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)
INPUT = "data"

Below = Callable[[tf.Tensor], tf.Tensor]
"""What makes features of pixels."""


@dataclass(frozen=True)
class Network:
    """The network as one Keras model, and the same layers in two parts.

    `model`: pixels from 0 to 255, float32 (N, H, W, C), to probabilities (N, classes). `base`: the part of it that
    pretrained weights fill. `below`: what is frozen, pixels to features, None when all layers are trained. `above`:
    features, or pixels, to logits (N, classes).
    """

    model: keras.Model
    base: keras.Model
    below: keras.Model | None
    above: keras.Model


def name(alpha: float) -> str:
    """Return the network's name, such as `mobilenetv2_1.0`."""
    return f"mobilenetv2_{alpha}"


def build(hp: Hyperparameters) -> Network:
    """Return the network of checked hyperparameters, initialised by the seed and cut where `train_layers` says."""
    keras.utils.set_random_seed(hp.seed)
    channels, height, width = hp.image_shape
    pixels = keras.Input((height, width, channels), name="pixels")
    scaled = keras.layers.Rescaling(1 / 127.5, -1, name="scaled")(pixels)
    base = keras.applications.MobileNetV2(
        input_tensor=scaled,
        input_shape=(height, width, channels),
        alpha=hp.alpha,
        include_top=False,
        weights=None,
        pooling="avg",
    )
    classes = cast(int, hp.num_classes)  # data.load has counted them
    logits = _head(base.output, classes, hp.dropout)
    model = keras.Model(pixels, keras.layers.Softmax(name="probabilities")(logits), name=name_of_model(hp.alpha))
    for layer in norms(base):
        layer.momentum = _MOMENTUM
    _begin_as_identity(base)
    cut = _cut(base, hp.train_layers)
    if cut is None:
        return Network(model, base, None, keras.Model(pixels, logits))
    below = keras.Model(pixels, cut)
    for layer in below.layers:
        layer.trainable = False
    return Network(model, base, below, keras.Model(cut, logits))


def _begin_as_identity(base: keras.Model) -> None:
    """Let every block that adds its input start as the identity: the scale of its last BatchNorm is zero.

    Goyal et al. 2017, section 5.1. Pretrained weights take the place of it.
    """
    for number in _ADDS:
        gamma = base.get_layer(f"block_{number}_project_BN").gamma
        gamma.assign(keras.ops.zeros_like(gamma))


def norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the model's BatchNorm layers."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def name_of_model(alpha: float) -> str:
    """Return the name in the Keras file, which takes no dots."""
    return name(alpha).replace(".", "_")


def _head(features: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """Return logits (N, classes). Two classes have one unit, as in a classifier with a sigmoid.

    The first class's logit is then 0, and the softmax of both is [1 - p, p] for the sigmoid p.
    """
    dropped = keras.layers.Dropout(dropout, name="dropout")(features)
    logits = keras.layers.Dense(classes if classes > 2 else 1, name="logits")(dropped)
    return logits if classes > 2 else keras.layers.Concatenate(name="both")([logits * 0, logits])


def _cut(base: keras.Model, train_layers: TrainLayers) -> keras.KerasTensor | None:
    """Return the tensor above which layers are trained, None when all are."""
    if train_layers == ALL:
        return None
    if train_layers == HEAD:
        return base.output
    return base.get_layer(_ends()[BLOCKS - train_layers - 1]).output


def _ends() -> list[str]:
    """Return the name of each block's last layer, from the input on; where a block adds its input, that is the sum."""
    inner = [f"block_{number}_{'add' if number in _ADDS else 'project_BN'}" for number in range(1, 17)]
    return ["Conv1_relu", "expanded_conv_project_BN", *inner, "out_relu"]


def constant(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the frozen model as a function whose weights are constants, so that TensorFlow fuses its layers.

    float32 (N, ...) in and out. Later changes of the model's weights do not reach it.
    """
    if tf.distribute.has_strategy():  # whose variables TensorFlow does not make constants of
        return tf.function(lambda batch: model(tf.convert_to_tensor(batch), training=False))
    signature = tf.TensorSpec(model.inputs[0].shape, tf.float32)
    function = tf.function(lambda batch: model(batch, training=False)).get_concrete_function(signature)
    frozen = convert_variables_to_constants_v2(function)
    return lambda batch: frozen(tf.convert_to_tensor(batch))[0]


def inputs(images: tf.Tensor, below: Below | None) -> tf.Tensor:
    """Return what the layers above the cut take, of a batch of photos or, without `below`, of that itself."""
    pixels = tf.cast(images, tf.float32)
    return pixels if below is None else below(pixels)


def planes_last(batch: NDArray[np.float32]) -> tf.Tensor:
    """Return float32 (N, H, W, C) of (N, C, H, W)."""
    return tf.convert_to_tensor(np.ascontiguousarray(batch.transpose(0, 2, 3, 1)))


def save(model: keras.Model, path: Path) -> None:
    """Write the model as a `.keras` file, whatever ending `path` has. Raises OSError."""
    named = path.with_name(f"{path.name}.keras")  # Keras refuses any other ending
    for layer in norms(model):
        layer.momentum = _SAVED_MOMENTUM
    try:
        model.save(named)
        os.replace(named, path)
    finally:
        named.unlink(missing_ok=True)
        for layer in norms(model):
            layer.momentum = _MOMENTUM


def to_onnx(model: keras.Model, path: Path) -> None:
    """Write the model as an ONNX graph: `data` float32 (N, C, H, W), pixels, to `probabilities`. Raises OSError."""
    _, height, width, channels = model.input_shape
    data = keras.Input((channels, height, width), name=INPUT)
    planes_first = keras.Model(data, model(keras.layers.Permute((2, 3, 1))(data)))
    with warnings.catch_warnings(), quiet(logging.getLogger("tf2onnx")):
        warnings.simplefilter("ignore", FutureWarning)  # Keras asks NumPy for a name that it will once have
        planes_first.export(
            path,
            format="onnx",
            verbose=False,
            input_signature=[keras.InputSpec("float32", (None, channels, height, width), name=INPUT)],
        )
    graph = onnx.load(str(path))
    tidy(graph, INPUT, (OUTPUT,))
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def weights(model: keras.Model) -> list[NDArray[np.float32]]:
    """Return a copy of all weights, for `model.set_weights`."""
    return [np.array(weight) for weight in model.get_weights()]
