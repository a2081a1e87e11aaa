"""The tasks that can be served: a module for each, which knows its graph's outputs, its answer and its forms."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve.artifact import CLASSIFICATION, DETECTION, SEGMENTATION, Artifact
from serve.tasks import classification, detection, segmentation
from serve.tasks.forms import Answer, Form


class Task(Protocol):
    """What a task's module holds. NumPy and Pillow only, as training evaluates with the same code."""

    OUTPUTS: tuple[str, ...]
    """Names of the graph's outputs that are needed; each has the batch as its first dimension."""
    FORMS: tuple[Form[Answer], ...]
    """Forms of a response, that for an absent Accept and for */* first. Names of `parameter` are in lower case."""
    BATCH_FORMS: tuple[Form[Answer], ...]
    """The same in batch transform."""

    def fits(self, outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
        """Whether the graph's outputs for a batch of one image have the dtypes and shapes that the artifact says."""

    def answer(self, outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
        """The graph's finite outputs for one image, without the batch -> the values of its Answer."""

    def evaluated(self, answer: Answer) -> NDArray[np.float32] | NDArray[np.uint8]:
        """What training compares with the truth: probabilities (classes,), detections (d, 6), or a mask (H, W)."""

    def options(self, attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
        """What a request's custom attributes (name in lower case, value) ask of the answer, by name.

        Names that mean nothing to the task are ignored. Raises BadRequest naming an attribute with a bad value.
        """

    def postprocess(self, values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
        """The values of an Answer as `options` ask for them."""


TASKS: dict[str, Task] = {CLASSIFICATION: classification, DETECTION: detection, SEGMENTATION: segmentation}
"""By the `task` of model.json."""
