"""The tasks that can be served: a module for each, which knows its graph's outputs, its answer and its forms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from serve import classification, detection, segmentation
from serve.artifact import CLASSIFICATION, DETECTION, SEGMENTATION, Artifact
from serve.forms import Answer, Form


class Task(Protocol):
    """What a task's module holds. NumPy and Pillow only, as training evaluates with the same code."""

    OUTPUTS: tuple[str, ...]
    """Names of the graph's outputs that are needed; each has the batch as its first dimension."""
    FORMS: tuple[Form, ...]
    """Forms of a response, that for an absent Accept and for */* first. Names of `parameter` are in lower case."""
    BATCH_FORMS: tuple[Form, ...]
    """The same in batch transform."""

    def fits(self, outputs: Mapping[str, np.ndarray], artifact: Artifact) -> bool:
        """Whether the graph's outputs for a batch of one image have the dtypes and shapes that the artifact says."""

    def answer(self, outputs: Mapping[str, np.ndarray], artifact: Artifact) -> np.ndarray:
        """The graph's finite outputs for one image, without the batch -> the values of its Answer."""

    def evaluated(self, answer: Answer) -> np.ndarray:
        """What training compares with the truth: probabilities (classes,), detections (d, 6), or a mask (H, W)."""

    def refiner(self, attributes: Sequence[tuple[str, str]]) -> Callable[[np.ndarray], np.ndarray]:
        """What a request's custom attributes (name in lower case, value) ask to be done to the answer's values.

        Names that mean nothing to the task are ignored. Raises BadRequest naming an attribute with a bad value.
        """


TASKS: dict[str, Task] = {CLASSIFICATION: classification, DETECTION: detection, SEGMENTATION: segmentation}
"""By the `task` of model.json."""
