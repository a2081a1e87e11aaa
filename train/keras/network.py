"""Networks for photos in Keras: a base with a head, cut in two where training begins, and what is written of them."""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from train.classification.predictions import OUTPUT
from train.graph import quiet, tidy
from train.keras.hyperparameters import ALL, HEAD, KerasHyperparameters, TrainLayers

# Networks in Keras have 0.999: after 300 updates the moving statistics are still a quarter of what they began as,
# and validation at chance. Even 0.9 lags behind weights that move fast. So training keeps the last batch's statistics,
# and before each evaluation they are averaged over many batches: evaluation.Statistics. The Keras file, which
# others may train on, has MXNet's and PyTorch's 0.9.
_MOMENTUM, _SAVED_MOMENTUM = 0.0, 0.9
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


def assemble(
    pixels: keras.KerasTensor, base: keras.Model, ends: Sequence[str], hp: KerasHyperparameters, name: str
) -> Network:
    """Put a head on `base`, whose input is made of `pixels`, (N, H, W, C) from 0 to 255, and whose output is (N, F).

    `ends` are the names of the last layer of each of its blocks, from the input on: it may be cut above each.
    """
    cut = _cut(base, ends, hp.train_layers)
    assert hp.num_classes is not None  # the data has counted them
    logits = _head(base.output, hp.num_classes, hp.dropout)
    # A Keras file takes no dots in a name.
    model = keras.Model(pixels, keras.layers.Softmax(name="probabilities")(logits), name=name.replace(".", "_"))
    for layer in norms(base):
        layer.momentum = _MOMENTUM
    if cut is None:
        return Network(model, base, None, keras.Model(pixels, logits))
    below = keras.Model(pixels, cut)
    for layer in below.layers:
        layer.trainable = False
    return Network(model, base, below, keras.Model(cut, logits))


def _cut(base: keras.Model, ends: Sequence[str], train_layers: TrainLayers) -> keras.KerasTensor | None:
    """Return the tensor above which layers are trained, None when all are."""
    if train_layers == ALL:
        return None
    if train_layers == HEAD:
        return base.output
    return base.get_layer(ends[len(ends) - train_layers - 1]).output


def begin_as_identity(base: keras.Model, norms: Iterable[str]) -> None:
    """Let blocks that add their input start as the identity: the scale of the last BatchNorm of each, `norms`, is zero.

    Goyal et al. 2017, section 5.1. Pretrained weights take the place of it.
    """
    for name in norms:
        gamma = base.get_layer(name).gamma
        gamma.assign(keras.ops.zeros_like(gamma))


def norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the model's BatchNorm layers."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _head(features: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """Return logits (N, classes). Two classes have one unit, as in a classifier with a sigmoid.

    The first class's logit is then 0, and the softmax of both is [1 - p, p] for the sigmoid p.
    """
    dropped = keras.layers.Dropout(dropout, name="dropout")(features)
    logits = keras.layers.Dense(classes if classes > 2 else 1, name="logits")(dropped)
    return logits if classes > 2 else keras.layers.Concatenate(name="both")([logits * 0, logits])


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
