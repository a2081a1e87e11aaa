"""The task image-classification: one probability per class."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import Artifact
from serve.tasks.forms import Form, Prediction

OUTPUTS: tuple[str, ...] = ("probabilities",)


def fits(outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
    """Return whether `probabilities` for one image is float32 (1, classes)."""
    probabilities = outputs["probabilities"]
    return probabilities.dtype == np.float32 and probabilities.shape == (1, len(artifact.class_names))


def values(outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
    """Return the probabilities for one image, float32 (classes,), in the order of the label index."""
    return outputs["probabilities"]


def evaluated(prediction: Prediction) -> NDArray[np.float32]:
    """Return the probabilities."""
    return prediction.values


def options(attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """Return no options: this task ignores custom attributes."""
    return {}


def postprocess(values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
    """Return the values unchanged."""
    return values


def _array(prediction: Prediction) -> str:
    return json.dumps(prediction.values.tolist())


def _prediction(prediction: Prediction) -> str:
    return json.dumps({"prediction": prediction.values.tolist()})


def _prediction_line(prediction: Prediction) -> str:
    return _prediction(prediction) + "\n"


def _verbose(prediction: Prediction) -> str:
    document = {
        "predicted_label": prediction.class_names[int(prediction.values.argmax())],
        "labels": list(prediction.class_names),
        "probabilities": prediction.values.tolist(),
    }
    return json.dumps(document)


_OTHERS = (Form("application/jsonlines", _prediction_line), Form("application/json", _verbose, "verbose"))
FORMS: tuple[Form[Prediction], ...] = (Form("application/json", _array), *_OTHERS)
# As in the built-in algorithm's batch transform.
BATCH_FORMS: tuple[Form[Prediction], ...] = (Form("application/json", _prediction), *_OTHERS)
