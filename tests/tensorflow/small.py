"""What the tests of image-classification-tensorflow compute on: a small network and a few drawn photos."""

from pathlib import Path

import numpy as np

from serve.artifact import InputSpec
from train.data.samples import Sample
from train.image_classification_tensorflow import network
from train.image_classification_tensorflow.hyperparameters import Hyperparameters, check
from train.keras.network import Network, norms

STILL = {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0}  # no augmentation


def hyperparameters(**given: object) -> Hyperparameters:
    """The checked hyperparameters of a network for photos of 32 x 32 pixels and three classes, with those `given`."""
    values = {"image_shape": "3,32,32", "alpha": 0.35, "mini_batch_size": 8, "num_classes": 3, **given}
    return check({name: str(value) for name, value in values.items()})


def photos(count: int = 8, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Noise, uint8 (count, 32, 32, channels)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, channels)).astype(np.uint8)


def built(**given: object) -> Network:
    """The network of such hyperparameters, whose answers differ from photo to photo.

    It has seen one batch: with the statistics that BatchNorm begins with, it would answer the same to all.
    """
    hp = hyperparameters(**given)
    net = network.build(hp)
    frozen = [layer for layer in norms(net.base) if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    channels, height, width = hp.image_shape
    pixels = np.random.default_rng(9).uniform(0, 255, (16, height, width, channels)).astype(np.float32)
    net.model(pixels, training=True)
    for layer in frozen:
        layer.trainable = False
    return net


class Photos:
    """Drawn photos in the place of `data.Data`; they count how often they are read."""

    def __init__(self, count: int = 10) -> None:
        self.train = [Sample(f"{index}.jpg", index % 3, Path()) for index in range(count)]
        self.validation = self.train
        self.sizes = count, count
        self.class_names = ("0", "1", "2")
        self.spec = InputSpec("data", 3, 32, 32, 32, "crop", (0.0,) * 3, (1 / 255,) * 3)
        self.drawn = photos(count, 5)
        self.reads = 0

    def pixels(self, index: int) -> np.ndarray:
        self.reads += 1
        return self.drawn[index]

    def train_tensor(self, index: int) -> np.ndarray:
        return self.pixels(index).transpose(2, 0, 1).astype(np.float32)

    validation_tensor = train_tensor
