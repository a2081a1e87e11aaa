"""The tasks that can be served: a module for each, which knows its graph's outputs, its answer and its forms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from serve import classification, detection
from serve.artifact import Artifact
from serve.forms import Form


class Task(Protocol):
    """What a task's module holds. NumPy and the standard library only, as training evaluates with the same code."""

    OUTPUTS: tuple[str, ...]
    """Names of the graph's outputs that are needed; each has the batch as its first dimension."""
    FORMS: tuple[Form, ...]
    """Forms of a response, that for an absent Accept and for */* first. Names of `parameter` are in lower case."""
    BATCH_FORMS: tuple[Form, ...]
    """The same in batch transform."""

    def fits(self, outputs: Mapping[str, np.ndarray], classes: int) -> bool:
        """Whether the graph's outputs for a batch of one image have the dtypes and shapes of a model of `classes`."""

    def answer(self, outputs: Mapping[str, np.ndarray], artifact: Artifact) -> np.ndarray:
        """The graph's finite outputs for one image, without the batch -> the task's answer."""

    def refiner(self, attributes: Sequence[tuple[str, str]]) -> Callable[[np.ndarray], np.ndarray]:
        """What a request's custom attributes (name in lower case, value) ask to be done to the answer.

        Names that mean nothing to the task are ignored. Raises BadRequest naming an attribute with a bad value.
        """


TASKS: dict[str, Task] = {"image-classification": classification, "object-detection": detection}
"""By the `task` of model.json."""
