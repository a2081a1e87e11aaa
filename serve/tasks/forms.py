"""Classes that all tasks share: the prediction for one image, and a response format."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve.artifact import InputSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image, with everything that a response format may need.

    `values` is what the task's `values` returns. `width` and `height` are the size of the original upright image in
    pixels; `spec` describes how it became the model's input.
    """

    values: NDArray[np.float32]
    class_names: tuple[str, ...]
    width: int
    height: int
    spec: InputSpec


@dataclass(frozen=True)
class Form(Generic[T]):
    """A response format: the media type that selects it in the Accept header, and its encoder.

    `encode` takes a Prediction, or the JSON text of the task `tensors`. `parameter` selects between forms of the same
    media type, like `verbose` in `application/json;verbose`; it is "" for the default form.
    """

    media: str
    encode: Callable[[T], str | bytes]
    parameter: str = ""

    def __str__(self) -> str:
        return self.media + (f";{self.parameter}" if self.parameter else "")
