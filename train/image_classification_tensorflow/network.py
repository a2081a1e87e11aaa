"""Keras's MobileNetV2 and its blocks."""

import keras

from train.image_classification_tensorflow.hyperparameters import Hyperparameters
from train.keras.network import Network, assemble, begin_as_identity

# The inverted residuals with a skip connection: stride 1 and equal input and output channels. Sandler et al. 2018,
# table 2.
_ADDS = (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)
# The last layer of each block, in order. In a block with a skip connection, it is the addition.
_ENDS = (
    "Conv1_relu",
    "expanded_conv_project_BN",
    *(f"block_{number}_{'add' if number in _ADDS else 'project_BN'}" for number in range(1, 17)),
    "out_relu",
)


def name(alpha: float) -> str:
    """Return the network's name, such as `mobilenetv2_1.0`."""
    return f"mobilenetv2_{alpha}"


def build(hp: Hyperparameters) -> Network:
    """Return the initialised network, split into frozen and trained layers as `train_layers` says."""
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
    begin_as_identity(base, [f"block_{number}_project_BN" for number in _ADDS])
    return assemble(pixels, base, _ENDS, hp, name(hp.alpha))
