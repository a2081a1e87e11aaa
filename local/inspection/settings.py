"""The hyperparameters by which data is judged: an algorithm's defaults, and the image shape that a user gives."""

import argparse
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from train import fields

_SHAPES = ("image_shape", "crop_size")


@dataclass(frozen=True)
class Settings:
    """Height and width of the network's input in pixels, the hyperparameter that sets them, and others.

    `square`: the hyperparameter is one number, the input's side.
    """

    height: int
    width: int
    shape: str
    square: bool
    mini_batch_size: int
    unreadable_tolerance: float
    label_width: int = 0

    def __str__(self) -> str:
        """`image_shape=3,224,224`."""
        return f"{self.shape}={self.width if self.square else f'3,{self.height},{self.width}'}"

    def at(self, shape: tuple[int, int] | None) -> "Settings":
        """The same with another height and width, if they are given; of a square the width counts."""
        if shape is None:
            return self
        height, width = shape
        return replace(self, height=width if self.square else height, width=width)


def defaults(name: str) -> Settings:
    """The defaults of the algorithm `name`."""
    module = importlib.import_module(f"train.{name.replace('-', '_')}.hyperparameters")
    values: dict[str, Any] = fields.defaults(module.Hyperparameters)
    shape = next(key for key in _SHAPES if key in values)
    sides = values[shape]
    square = not isinstance(sides, tuple)
    height, width = (sides, sides) if square else sides[-2:]
    return Settings(
        *(height, width, shape, square, values["mini_batch_size"], values["unreadable_tolerance"]),
        label_width=values.get("label_width", 0),
    )


def of(name: str, hyperparameters: Mapping[str, object]) -> Settings:
    """The defaults of the algorithm `name`, with the input's shape and the batch of a recipe."""
    found = defaults(name)
    batch = int(str(hyperparameters.get("mini_batch_size", found.mini_batch_size)))
    shape = hyperparameters.get(found.shape)
    return replace(found, mini_batch_size=batch).at(None if shape is None else image_shape(str(shape)))


def image_shape(text: str) -> tuple[int, int]:
    """Height and width of `3,224,224`, `224,224` or `224`. Raises argparse.ArgumentTypeError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 3 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not an image shape: write it as 3,224,224 or 300")
    height, width = int(parts[-2] if len(parts) > 1 else parts[-1]), int(parts[-1])
    if not (0 < height <= 4096 and 0 < width <= 4096):
        raise argparse.ArgumentTypeError(
            f"{text!r} has a side that is not from 1 to 4096: write it as 3,224,224 or 300"
        )
    return height, width
