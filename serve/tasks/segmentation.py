"""The task semantic-segmentation: the class of each pixel of the photo."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import Artifact
from serve.http.errors import TooLarge
from serve.tasks import masks, records
from serve.tasks.forms import Answer, Form

OUTPUTS: tuple[str, ...] = ("logits",)

MAX_PROBABILITIES = 100 * 2**20
"""Bytes of the largest answer with a number for each class and pixel: as much as batch transform can carry."""


def fits(outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
    """Whether `logits` of one image is float32 (1, classes, side / t, side / t) for a whole number t."""
    logits = outputs["logits"]
    cells = logits.shape[-1] if logits.ndim else 0
    tiled = cells > 0 and artifact.input.resize % cells == 0
    return tiled and logits.dtype == np.float32 and logits.shape == (1, len(artifact.class_names), cells, cells)


def answer(outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
    """The graph's outputs for one image -> its logits, float32 (C, h, w), of which a form makes what it needs."""
    return outputs["logits"]


def evaluated(answer: Answer) -> NDArray[np.uint8]:
    """The mask of the photo, uint8 (H, W) of class ids."""
    return masks.class_ids(answer.values, (answer.width, answer.height), answer.spec)


def options(attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """Nothing, whatever the custom attributes: every pixel has its class."""
    return {}


def postprocess(values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
    """The values as they are."""
    return values


def _png(answer: Answer) -> bytes:
    return masks.png(evaluated(answer))


def _record(answer: Answer) -> bytes:
    """A framed Record with float32 probabilities, flat, and their shape [1, C, H, W]."""
    classes, size = len(answer.class_names), (answer.width, answer.height)
    needed = classes * answer.width * answer.height * np.dtype(np.float32).itemsize
    if needed > MAX_PROBABILITIES:
        raise TooLarge(
            f"The probabilities of {classes} classes for {answer.width} x {answer.height} pixels would have {needed} "
            f"bytes, the limit is {MAX_PROBABILITIES}; send a smaller photo, or ask for image/png."
        )
    return records.of_tensor(masks.probabilities(answer.values, size, answer.spec)[np.newaxis])


def _verbose(answer: Answer) -> str:
    """Each class with its name and its share of the pixels, and the mask as a PNG in base64."""
    mask = evaluated(answer)
    shares = np.bincount(mask.ravel(), minlength=len(answer.class_names)) / mask.size
    document = {
        "width": answer.width,
        "height": answer.height,
        "classes": [
            {"label": name, "class_id": index, "share": share}
            for index, (name, share) in enumerate(zip(answer.class_names, shares.tolist(), strict=True))
        ],
        "mask": base64.b64encode(masks.png(mask)).decode("ascii"),
    }
    return json.dumps(document)


FORMS: tuple[Form[Answer], ...] = (
    Form("image/png", _png),
    # The built-in's notebook asks by the first of these names, its guide by the second.
    Form("application/x-protobuf", _record),
    Form("application/x-recordio-protobuf", _record),
    Form("application/json", _verbose),
    Form("application/json", _verbose, "verbose"),
)
BATCH_FORMS = FORMS
