"""Keras's MobileNetV2, and where it may be cut."""

import keras

from train.image_classification_tensorflow.hyperparameters import BLOCKS, Hyperparameters
from train.keras.hyperparameters import ALL, HEAD, TrainLayers
from train.keras.network import Network, assemble

# The inverted residuals of stride 1 with as many channels out as in: Sandler et al. 2018, table 2.
_ADDS = (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)


def name(alpha: float) -> str:
    """Return the network's name, such as `mobilenetv2_1.0`."""
    return f"mobilenetv2_{alpha}"


def build(hp: Hyperparameters) -> Network:
    """Return the network of checked hyperparameters, initialised by the seed and cut where `train_layers` says."""
    keras.utils.set_random_seed(hp.seed)
    channels, height, width = hp.image_shape
    pixels = keras.Input((height, width, channels), name="pixels")
    base = keras.applications.MobileNetV2(
        input_tensor=keras.layers.Rescaling(1 / 127.5, -1, name="scaled")(pixels),
        input_shape=(height, width, channels),
        alpha=hp.alpha,
        include_top=False,
        weights=None,
        pooling="avg",
    )
    _begin_as_identity(base)
    return assemble(pixels, base, _cut(base, hp.train_layers), hp, name(hp.alpha))


def _begin_as_identity(base: keras.Model) -> None:
    """Let every block that adds its input start as the identity: the scale of its last BatchNorm is zero.

    Goyal et al. 2017, section 5.1. Pretrained weights take the place of it.
    """
    for number in _ADDS:
        gamma = base.get_layer(f"block_{number}_project_BN").gamma
        gamma.assign(keras.ops.zeros_like(gamma))


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
