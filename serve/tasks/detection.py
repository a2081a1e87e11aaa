"""The task object-detection: boxes with a class and a score, selected from thousands of candidates."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import Artifact, Nms
from serve.http.errors import BadRequest
from serve.tasks.forms import Form, Prediction

OUTPUTS: tuple[str, ...] = ("scores", "boxes")

_CLASS, _SCORE, _BOX = 0, 1, slice(2, 6)  # columns of a detection


def fits(outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
    """Return whether `scores` and `boxes` for one image are float32 (1, A, classes) and float32 (1, A, 4)."""
    scores, boxes, classes = outputs["scores"], outputs["boxes"], len(artifact.class_names)
    shapes_fit = scores.ndim == 3 and scores.shape[::2] == (1, classes) and boxes.shape == (1, scores.shape[1], 4)
    return shapes_fit and scores.dtype == boxes.dtype == np.float32


def values(outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
    """Return the detections in one image, float32 (d, 6); see `select`."""
    assert artifact.nms is not None, "serve.artifact.read requires it for this task"
    return select(outputs["scores"], outputs["boxes"], artifact.nms)


def evaluated(prediction: Prediction) -> NDArray[np.float32]:
    """Return the detections."""
    return prediction.values


def select(scores: NDArray[np.float32], boxes: NDArray[np.float32], nms: Nms) -> NDArray[np.float32]:
    """Apply non-maximum suppression to scores float32 (A, C) and corners float32 (A, 4); return float32 (d, 6).

    The candidates are the `nms.top_k` best (anchor, class) pairs with a score above `nms.score_floor`; equal scores are
    sorted by class, then by anchor. From the best candidate down, each one is dropped if its IoU with a kept candidate
    of the same class is above `nms.threshold`, as in MXNet's contrib.box_nms.

    The rows of the result are class, score, xmin, ymin, xmax, ymax, best score first. Boxes are clipped to
    [0, 1] at the end, so boxes outside the image have no area, but are not dropped. All inputs must be finite.
    """
    anchors, classes = _candidates(scores, nms)
    rows = np.empty((len(anchors), 6), np.float32)
    rows[:, _CLASS], rows[:, _SCORE], rows[:, _BOX] = classes, scores[anchors, classes], boxes[anchors]
    rows = rows[_kept(rows, nms.threshold)]
    np.clip(rows[:, _BOX], 0, 1, out=rows[:, _BOX])
    return rows


def _candidates(scores: NDArray[np.float32], nms: Nms) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the anchors and classes of the candidates, best first."""
    flat = scores.ravel()
    candidates = np.flatnonzero(flat > np.float32(nms.score_floor))
    values = flat[candidates]
    if len(candidates) > nms.top_k:  # sorting all of them would take longer than everything else here
        lowest = np.partition(values, -nms.top_k)[-nms.top_k]
        candidates, values = candidates[values >= lowest], values[values >= lowest]
    anchors, classes = np.divmod(candidates, scores.shape[1])
    order = np.lexsort((anchors, classes, -values))[: nms.top_k]
    return anchors[order], classes[order]


def _kept(rows: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return which of the candidates (n, 6), sorted best first, survive greedy suppression: bool (n,)."""
    same_class = rows[:, _CLASS, np.newaxis] == rows[:, _CLASS]
    suppresses = (_overlaps(rows[:, _BOX]) > np.float32(threshold)) & same_class
    kept = np.ones(len(rows), bool)
    for better in range(len(rows)):
        if kept[better]:
            kept[better + 1 :] &= ~suppresses[better, better + 1 :]
    return kept


def _overlaps(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the pairwise IoU of boxes (n, 4), float32 (n, n); NaN if neither box has an area."""
    left, top, right, bottom = boxes.T
    # Broken weights can produce boxes as large as a float32. Their areas overflow and never exceed the threshold.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        area = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
        width = np.minimum(right[:, np.newaxis], right) - np.maximum(left[:, np.newaxis], left)
        height = np.minimum(bottom[:, np.newaxis], bottom) - np.maximum(top[:, np.newaxis], top)
        intersection = np.maximum(width, 0) * np.maximum(height, 0)
        overlaps: NDArray[np.float32] = intersection / (area[:, np.newaxis] + area - intersection)
        return overlaps


# --- custom attributes ----------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e-?\d+)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)


def options(attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """Parse the attributes `threshold` (the lowest score to return) and `max_detections`, if present.

    Raises BadRequest for an invalid value or a repeated attribute.
    """
    parsed: dict[str, float] = {}
    for name, text in attributes:
        if name not in _ATTRIBUTES:
            continue
        if name in parsed:
            raise BadRequest(f"The custom attribute {name} is set twice; set it once.")
        try:
            parsed[name] = _ATTRIBUTES[name](text)
        except ValueError as expected:
            raise BadRequest(f"The custom attribute {name} is {text!r:.80}; it must be {expected}.") from expected
    return parsed


def postprocess(values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
    """Filter detections, float32 (d, 6) with the best score first, by the options."""
    detections = values[values[:, _SCORE] >= np.float32(options.get("threshold", 0))]
    return detections[: int(options.get("max_detections", len(detections)))]


def _fraction(text: str) -> float:
    if not _NUMBER.fullmatch(text) or float(text) > 1:
        raise ValueError("a number from 0 to 1")
    return float(text)


def _count(text: str) -> int:
    if not _WHOLE.fullmatch(text) or int(text) < 1:
        raise ValueError("a whole number from 1 to 999999999")
    return int(text)


_ATTRIBUTES: dict[str, Callable[[str], float]] = {"threshold": _fraction, "max_detections": _count}


# --- forms ----------------------------------------------------------------------------------------------------------


def _prediction(prediction: Prediction) -> str:
    return json.dumps({"prediction": prediction.values.tolist()})


def _prediction_line(prediction: Prediction) -> str:
    return _prediction(prediction) + "\n"


def _annotation(prediction: Prediction) -> str:
    """Return JSON in the format of the training annotations: whole pixels from the top left of the upright image."""
    scale = (prediction.width, prediction.height, prediction.width, prediction.height)
    edges = np.rint(prediction.values[:, _BOX].astype(np.float64) * scale).astype(int).tolist()
    annotations = [
        {"class_id": int(index), "score": score, "left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0}
        for (index, score), (x0, y0, x1, y1) in zip(prediction.values[:, :2].tolist(), edges, strict=True)
    ]
    size = {"width": prediction.width, "height": prediction.height, "depth": prediction.spec.channels}
    return json.dumps({"image_size": [size], "annotations": annotations})


def _verbose(prediction: Prediction) -> str:
    """Return JSON with class names; boxes are left, top, width and height as fractions of the upright image."""
    boxes = [
        {
            "label": prediction.class_names[int(index)],
            "class_id": int(index),
            "score": score,
            "box": {"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0},
        }
        for index, score, x0, y0, x1, y1 in prediction.values.tolist()
    ]
    return json.dumps({"prediction": boxes})


FORMS: tuple[Form[Prediction], ...] = (
    Form("application/json", _prediction),
    Form("application/jsonlines", _prediction_line),
    Form("application/json", _annotation, "annotation"),
    Form("application/json", _verbose, "verbose"),
)
BATCH_FORMS = FORMS
