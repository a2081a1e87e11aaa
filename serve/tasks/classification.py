"""The task image-classification: a probability for each class."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import Artifact
from serve.tasks.forms import Answer, Form

OUTPUTS: tuple[str, ...] = ("probabilities",)


def fits(outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
    """Whether `probabilities` of one image is float32 (1, classes)."""
    probabilities = outputs["probabilities"]
    return probabilities.dtype == np.float32 and probabilities.shape == (1, len(artifact.class_names))


def answer(outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
    """The graph's outputs for one image -> probabilities, float32 (classes,) in order of the label index."""
    return outputs["probabilities"]


def evaluated(answer: Answer) -> NDArray[np.float32]:
    """The probabilities."""
    return answer.values


def options(attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """Nothing, whatever the custom attributes: every class has its probability."""
    return {}


def postprocess(values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
    """The values as they are."""
    return values


def _array(answer: Answer) -> str:
    return json.dumps(answer.values.tolist())


def _prediction(answer: Answer) -> str:
    return json.dumps({"prediction": answer.values.tolist()})


def _prediction_line(answer: Answer) -> str:
    return _prediction(answer) + "\n"


def _verbose(answer: Answer) -> str:
    document = {
        "predicted_label": answer.class_names[int(answer.values.argmax())],
        "labels": list(answer.class_names),
        "probabilities": answer.values.tolist(),
    }
    return json.dumps(document)


_OTHERS = (Form("application/jsonlines", _prediction_line), Form("application/json", _verbose, "verbose"))
FORMS: tuple[Form[Answer], ...] = (Form("application/json", _array), *_OTHERS)
# What the built-in writes in batch transform.
BATCH_FORMS: tuple[Form[Answer], ...] = (Form("application/json", _prediction), *_OTHERS)
