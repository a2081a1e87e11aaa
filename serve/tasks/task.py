"""The interface of the task modules, and the modules by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve.artifact import CLASSIFICATION, DETECTION, SEGMENTATION, Artifact
from serve.tasks import classification, detection, segmentation
from serve.tasks.forms import Form, Prediction


class Task(Protocol):
    """The interface of a task's module. NumPy and Pillow only, because training evaluates with the same code."""

    OUTPUTS: tuple[str, ...]
    """The names of the required graph outputs; the first dimension of each is the batch."""
    FORMS: tuple[Form[Prediction], ...]
    """The response formats. The first is the default for */* or no Accept header. Parameters are in lower case."""
    BATCH_FORMS: tuple[Form[Prediction], ...]
    """The response formats for batch transform."""

    def fits(self, outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
        """Return whether the graph's outputs for a batch of one image have the expected dtypes and shapes."""

    def values(self, outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
        """Return the values of a Prediction from the graph's finite outputs for one image, without the batch axis."""

    def evaluated(self, prediction: Prediction) -> NDArray[np.float32] | NDArray[np.uint8]:
        """Return what training compares with the ground truth: probabilities (classes,), detections (d, 6), or a mask
        (H, W)."""

    def options(self, attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
        """Parse the options in a request's custom attributes, which are (name in lower case, value) pairs.

        Unknown names are ignored. Raises BadRequest for an attribute with an invalid value.
        """

    def postprocess(self, values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
        """Return the values of a Prediction with `options` applied."""


TASKS: dict[str, Task] = {CLASSIFICATION: classification, DETECTION: detection, SEGMENTATION: segmentation}
"""The task modules, by the `task` in model.json."""
