"""A small network and a few random photos for the tests of image-classification-tensorflow."""

from pathlib import Path

import numpy as np

from serve.artifact import InputSpec
from train.data.samples import Sample
from train.image_classification_tensorflow import network
from train.image_classification_tensorflow.hyperparameters import Hyperparameters, check
from train.keras.network import Network, norms

STILL = {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0}  # no augmentation


def hyperparameters(**overrides: object) -> Hyperparameters:
    """Return checked hyperparameters of a network for three classes and photos of 32 x 32 pixels, with `overrides`."""
    values = {"image_shape": "3,32,32", "alpha": 0.35, "mini_batch_size": 8, "num_classes": 3, **overrides}
    return check({name: str(value) for name, value in values.items()})


def photos(count: int = 8, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Return photos of noise, uint8 (count, 32, 32, channels)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, channels)).astype(np.uint8)


def built(**overrides: object) -> Network:
    """Return a network with these hyperparameters and predictions that differ from photo to photo.

    It has seen one batch. With BatchNorm's initial statistics, it would predict the same for all photos.
    """
    hp = hyperparameters(**overrides)
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
    """A stand-in for `data.Data` with random photos. It counts how often they are read."""

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
