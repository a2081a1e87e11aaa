"""The hyperparameters that the inspection uses: an algorithm's defaults, and the user's image shape."""

import argparse
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from train import fields

_SHAPES = ("image_shape", "crop_size")


@dataclass(frozen=True)
class Settings:
    """The hyperparameters that the checks use.

    `height` and `width` are the size of the network's input in pixels, and `shape` is the name of the hyperparameter
    that sets it. `square` means that this hyperparameter is one number for both.
    """

    height: int
    width: int
    shape: str
    square: bool
    mini_batch_size: int
    unreadable_tolerance: float
    label_width: int = 0

    def __str__(self) -> str:
        """Return `image_shape=3,224,224`."""
        return f"{self.shape}={self.width if self.square else f'3,{self.height},{self.width}'}"

    def with_shape(self, shape: tuple[int, int] | None) -> "Settings":
        """Return a copy with another height and width, unless `shape` is None; `square` uses the width for both."""
        if shape is None:
            return self
        height, width = shape
        return replace(self, height=width if self.square else height, width=width)


def defaults(name: str) -> Settings:
    """Return the defaults of the algorithm `name`."""
    module = importlib.import_module(f"train.{name.replace('-', '_')}.hyperparameters")
    values: dict[str, Any] = fields.defaults(module.Hyperparameters)
    shape = next(key for key in _SHAPES if key in values)
    sides = values[shape]
    square = not isinstance(sides, tuple)
    height, width = (sides, sides) if square else sides[-2:]
    return Settings(
        height,
        width,
        shape,
        square,
        values["mini_batch_size"],
        values["unreadable_tolerance"],
        values.get("label_width", 0),
    )


def of(name: str, hyperparameters: Mapping[str, object]) -> Settings:
    """Return the defaults of the algorithm `name`, with the image shape and the batch size of `hyperparameters`."""
    settings = defaults(name)
    batch = int(str(hyperparameters.get("mini_batch_size", settings.mini_batch_size)))
    shape = hyperparameters.get(settings.shape)
    return replace(settings, mini_batch_size=batch).with_shape(None if shape is None else image_shape(str(shape)))


def image_shape(text: str) -> tuple[int, int]:
    """Parse `3,224,224`, `224,224` or `224` as height and width. Raises argparse.ArgumentTypeError otherwise."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 3 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not an image shape: write it as 3,224,224 or 300")
    height, width = int(parts[-2] if len(parts) > 1 else parts[-1]), int(parts[-1])
    if not (0 < height <= 4096 and 0 < width <= 4096):
        raise argparse.ArgumentTypeError(f"{text!r} is not within 1 to 4096 pixels: write it as 3,224,224 or 300")
    return height, width
