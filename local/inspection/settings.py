"""The hyperparameters by which data is judged: an algorithm's defaults, and the image shape that a user gives."""

import argparse
import importlib
from dataclasses import dataclass, replace
from typing import Any

from train import fields

_SHAPES = ("image_shape", "crop_size")


@dataclass(frozen=True)
class Settings:
    """Height and width of the network's input in pixels, the hyperparameter that sets them, and three others."""

    height: int
    width: int
    shape: str
    mini_batch_size: int
    unreadable_tolerance: float
    label_width: int = 0

    def __str__(self) -> str:
        """`image_shape=3,224,224`."""
        value = f"3,{self.height},{self.width}" if self.shape.endswith("shape") and not self.label_width else self.width
        return f"{self.shape}={value}"

    def at(self, shape: tuple[int, int] | None) -> "Settings":
        """The same with another height and width, if they are given."""
        return replace(self, height=shape[0], width=shape[1]) if shape else self


def defaults(name: str) -> Settings:
    """The defaults of the algorithm `name`."""
    module = importlib.import_module(f"train.{name.replace('-', '_')}.hyperparameters")
    values: dict[str, Any] = fields.defaults(module.Hyperparameters)
    shape = next(key for key in _SHAPES if key in values)
    sides = values[shape]
    height, width = sides[-2:] if isinstance(sides, tuple) else (sides, sides)
    return Settings(
        *(height, width, shape, values["mini_batch_size"], values["unreadable_tolerance"]),
        label_width=values.get("label_width", 0),
    )


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
