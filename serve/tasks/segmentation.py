"""The task semantic-segmentation: one class per pixel of the photo."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import Artifact
from serve.http.errors import TooLarge
from serve.tasks import masks, records
from serve.tasks.forms import Form, Prediction

OUTPUTS: tuple[str, ...] = ("logits",)

MAX_PROBABILITIES = 100 * 2**20
"""Limit of a response with one probability per class and pixel, in bytes: the maximum of batch transform."""


def fits(outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
    """Return whether `logits` for one image is float32 (1, classes, side / t, side / t) for a whole number t."""
    logits = outputs["logits"]
    cells = logits.shape[-1] if logits.ndim else 0
    tiled = cells > 0 and artifact.input.resize % cells == 0
    return tiled and logits.dtype == np.float32 and logits.shape == (1, len(artifact.class_names), cells, cells)


def values(outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
    """Return the logits of one image, float32 (C, h, w). The forms compute masks or probabilities from them."""
    return outputs["logits"]


def evaluated(prediction: Prediction) -> NDArray[np.uint8]:
    """Return the mask of the photo, uint8 (H, W), with class ids."""
    return masks.class_ids(prediction.values, (prediction.width, prediction.height), prediction.spec)


def options(attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """Return no options: this task ignores custom attributes."""
    return {}


def postprocess(values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
    """Return the values unchanged."""
    return values


def _png(prediction: Prediction) -> bytes:
    return masks.png(evaluated(prediction))


def _record(prediction: Prediction) -> bytes:
    """Return a framed Record with the flat float32 probabilities and their shape [1, C, H, W]."""
    classes, size = len(prediction.class_names), (prediction.width, prediction.height)
    needed = classes * prediction.width * prediction.height * np.dtype(np.float32).itemsize
    if needed > MAX_PROBABILITIES:
        raise TooLarge(
            f"The probabilities of {classes} classes for {prediction.width} x {prediction.height} pixels would take "
            f"{needed} bytes, and the limit is {MAX_PROBABILITIES}; send a smaller photo, or request image/png."
        )
    return records.of_tensor(masks.probabilities(prediction.values, size, prediction.spec)[np.newaxis])


def _verbose(prediction: Prediction) -> str:
    """Return JSON with the name and pixel share of each class, and the mask as a base64-encoded PNG."""
    mask = evaluated(prediction)
    shares = np.bincount(mask.ravel(), minlength=len(prediction.class_names)) / mask.size
    document = {
        "width": prediction.width,
        "height": prediction.height,
        "classes": [
            {"label": name, "class_id": index, "share": share}
            for index, (name, share) in enumerate(zip(prediction.class_names, shares.tolist(), strict=True))
        ],
        "mask": base64.b64encode(masks.png(mask)).decode("ascii"),
    }
    return json.dumps(document)


FORMS: tuple[Form[Prediction], ...] = (
    Form("image/png", _png),
    # The built-in algorithm's notebook requests the first of these media types, its documentation the second.
    Form("application/x-protobuf", _record),
    Form("application/x-recordio-protobuf", _record),
    Form("application/json", _verbose),
    Form("application/json", _verbose, "verbose"),
)
BATCH_FORMS = FORMS
