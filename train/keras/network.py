"""Keras networks: put a head on a base, split it into frozen and trained layers, and save and export it."""

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

# Keras's networks use a momentum of 0.999. After 300 updates, three quarters of the moving statistics still come from
# their initial values, and validation accuracy is no better than chance. Even with 0.9, they lag behind fast-moving
# weights. Therefore training keeps only the last batch's statistics, and evaluation.Statistics averages them over many
# batches before each evaluation. The saved Keras file has 0.9, as in MXNet and PyTorch, for further training elsewhere.
_MOMENTUM, _SAVED_MOMENTUM = 0.0, 0.9
INPUT = "data"

Below = Callable[[tf.Tensor], tf.Tensor]
"""A function that computes features from pixels."""


@dataclass(frozen=True)
class Network:
    """The network as one Keras model, and the same layers in two parts.

    `model` maps pixels from 0 to 255, float32 (N, H, W, C), to probabilities (N, classes). `base` is the part that has
    pretrained weights. `below` is the frozen part, from pixels to features, or None if all layers are trained. `above`
    is the trained part, from features or pixels to logits (N, classes).
    """

    model: keras.Model
    base: keras.Model
    below: keras.Model | None
    above: keras.Model


def assemble(
    pixels: keras.KerasTensor, base: keras.Model, ends: Sequence[str], hp: KerasHyperparameters, name: str
) -> Network:
    """Put a head on `base`, whose input is computed from `pixels`, (N, H, W, C) from 0 to 255; its output is (N, F).

    `ends` are the names of the last layers of its blocks, from input to output. The base can be cut above any block.
    """
    cut = _cut(base, ends, hp.train_layers)
    assert hp.num_classes is not None  # set from the data
    logits = _head(base.output, hp.num_classes, hp.dropout)
    # Keras does not allow dots in a name.
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
    """Return the tensor above which layers are trained, or None if all are."""
    if train_layers == ALL:
        return None
    if train_layers == HEAD:
        return base.output
    return base.get_layer(ends[len(ends) - train_layers - 1]).output


def begin_as_identity(base: keras.Model, norms: Iterable[str]) -> None:
    """Make residual blocks start as the identity, with scale 0 in their last BatchNorm layers, which are named `norms`.

    See Goyal et al. 2017, section 5.1. Pretrained weights overwrite these scales.
    """
    for name in norms:
        gamma = base.get_layer(name).gamma
        gamma.assign(keras.ops.zeros_like(gamma))


def norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the model's BatchNorm layers."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _head(features: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """Return logits (N, classes). For two classes, use one unit, as in a classifier with a sigmoid.

    The first class's logit is then 0, and the softmax is [1 - p, p] for the sigmoid p.
    """
    dropped = keras.layers.Dropout(dropout, name="dropout")(features)
    logits = keras.layers.Dense(classes if classes > 2 else 1, name="logits")(dropped)
    return logits if classes > 2 else keras.layers.Concatenate(name="both")([logits * 0, logits])


def constant(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the frozen model as a function with constant weights, so that TensorFlow can fuse its layers.

    Its input and output are float32 (N, ...). Later changes to the model's weights have no effect on it.
    """
    if tf.distribute.has_strategy():  # TensorFlow cannot convert distributed variables to constants
        return tf.function(lambda batch: model(tf.convert_to_tensor(batch), training=False))
    signature = tf.TensorSpec(model.inputs[0].shape, tf.float32)
    function = tf.function(lambda batch: model(batch, training=False)).get_concrete_function(signature)
    frozen = convert_variables_to_constants_v2(function)
    return lambda batch: frozen(tf.convert_to_tensor(batch))[0]


def inputs(images: tf.Tensor, below: Below | None) -> tf.Tensor:
    """Return the input of the layers above the cut: features of the images, or the images if `below` is None."""
    pixels = tf.cast(images, tf.float32)
    return pixels if below is None else below(pixels)


def channels_last(batch: NDArray[np.float32]) -> tf.Tensor:
    """Convert float32 (N, C, H, W) to (N, H, W, C)."""
    return tf.convert_to_tensor(np.ascontiguousarray(batch.transpose(0, 2, 3, 1)))


def save(model: keras.Model, path: Path) -> None:
    """Write the model in the `.keras` format; `path` may have any suffix. Raises OSError."""
    temporary = path.with_name(f"{path.name}.keras")  # Keras requires this suffix
    for layer in norms(model):
        layer.momentum = _SAVED_MOMENTUM
    try:
        model.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        for layer in norms(model):
            layer.momentum = _MOMENTUM


def to_onnx(model: keras.Model, path: Path) -> None:
    """Write the model as an ONNX graph from `data`, pixels float32 (N, C, H, W), to `probabilities`. Raises OSError."""
    _, height, width, channels = model.input_shape
    data = keras.Input((channels, height, width), name=INPUT)
    channels_first = keras.Model(data, model(keras.layers.Permute((2, 3, 1))(data)))
    with warnings.catch_warnings(), quiet(logging.getLogger("tf2onnx")):
        warnings.simplefilter("ignore", FutureWarning)  # Keras looks up a name that NumPy plans to define
        channels_first.export(
            path,
            format="onnx",
            verbose=False,
            input_signature=[keras.InputSpec("float32", (None, channels, height, width), name=INPUT)],
        )
    graph = onnx.load(str(path))
    tidy(graph, INPUT, (OUTPUT,))
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))
