"""What every task has in common on its way out: an answer, and the forms in which it can be written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve.artifact import InputSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a model says about one image, and what a form may say beside it.

    `values` is what the task's `answer` returns. `width` and `height` are the image's own, upright, in pixels; `spec`
    is what made it the model's input.
    """

    values: NDArray[np.float32]
    class_names: tuple[str, ...]
    width: int
    height: int
    spec: InputSpec


@dataclass(frozen=True)
class Form(Generic[T]):
    """A form that a response can take: what asks for it in Accept, and the function that writes it.

    `encode` takes what the task answers: an Answer, or the JSON text of the task `tensors`. `parameter` is what asks
    for this form among those of one media type, as `verbose` does in `application/json;verbose`; the form without one
    is the plain one.
    """

    media: str
    encode: Callable[[T], str | bytes]
    parameter: str = ""

    def __str__(self) -> str:
        return self.media + (f";{self.parameter}" if self.parameter else "")
