"""The task object-detection: boxes, each with a class and a score, out of the thousands that the graph proposes."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import Artifact, Nms
from serve.http.errors import BadRequest
from serve.tasks.forms import Answer, Form

OUTPUTS: tuple[str, ...] = ("scores", "boxes")

_CLASS, _SCORE, _BOX = 0, 1, slice(2, 6)  # columns of a detection


def fits(outputs: Mapping[str, NDArray[Any]], artifact: Artifact) -> bool:
    """Whether `scores` and `boxes` of one image are float32 (1, A, classes) and float32 (1, A, 4)."""
    scores, boxes, classes = outputs["scores"], outputs["boxes"], len(artifact.class_names)
    right = scores.ndim == 3 and scores.shape[::2] == (1, classes) and boxes.shape == (1, scores.shape[1], 4)
    return right and scores.dtype == boxes.dtype == np.float32


def answer(outputs: Mapping[str, NDArray[np.float32]], artifact: Artifact) -> NDArray[np.float32]:
    """The graph's outputs for one image -> detections, float32 (d, 6), as `select` describes them."""
    assert artifact.nms is not None, "an artifact of this task is not read without it"
    return select(outputs["scores"], outputs["boxes"], artifact.nms)


def evaluated(answer: Answer) -> NDArray[np.float32]:
    """The detections."""
    return answer.values


def select(scores: NDArray[np.float32], boxes: NDArray[np.float32], nms: Nms) -> NDArray[np.float32]:
    """Non-maximum suppression: scores float32 (A, C) and corners float32 (A, 4) of A anchors -> float32 (d, 6).

    Candidates are the pairs of anchor and class whose score is above `nms.score_floor`, of them the `nms.top_k` best
    over all classes; equal scores rank by class, then by anchor. From the best down, a candidate goes when one of its
    class that stays overlaps it by an IoU above `nms.threshold`. (MXNet's contrib.box_nms compares the same way.)
    A row is class, score, xmin, ymin, xmax, ymax, rows by falling score. Boxes are clipped to [0, 1] afterwards, so
    one that lay outside the image has no area then; none is dropped for it. All numbers must be finite.
    """
    anchors, classes = _candidates(scores, nms)
    rows = np.empty((len(anchors), 6), np.float32)
    rows[:, _CLASS], rows[:, _SCORE], rows[:, _BOX] = classes, scores[anchors, classes], boxes[anchors]
    rows = rows[_stay(rows, nms.threshold)]
    np.clip(rows[:, _BOX], 0, 1, out=rows[:, _BOX])
    return rows


def _candidates(scores: NDArray[np.float32], nms: Nms) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Anchors and classes of the candidates, best first."""
    flat = scores.ravel()
    found = np.flatnonzero(flat > np.float32(nms.score_floor))
    values = flat[found]
    if len(found) > nms.top_k:  # sorting all of them would take longer than everything else here
        last = np.partition(values, -nms.top_k)[-nms.top_k]
        found, values = found[values >= last], values[values >= last]
    anchors, classes = np.divmod(found, scores.shape[1])
    order = np.lexsort((anchors, classes, -values))[: nms.top_k]
    return anchors[order], classes[order]


def _stay(rows: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Which of the candidates (n, 6), best first, greedy suppression leaves: bool (n,)."""
    rivals = (_overlaps(rows[:, _BOX]) > np.float32(threshold)) & (rows[:, _CLASS, np.newaxis] == rows[:, _CLASS])
    stay = np.ones(len(rows), bool)
    for better in range(len(rows)):
        if stay[better]:
            stay[better + 1 :] &= ~rivals[better, better + 1 :]
    return stay


def _overlaps(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of each box (n, 4) with each: float32 (n, n), not a number where neither has an area."""
    left, top, right, bottom = boxes.T
    # Boxes of broken weights may be as large as a float32; their areas are not numbers that overlap anything.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        area = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
        width = np.minimum(right[:, np.newaxis], right) - np.maximum(left[:, np.newaxis], left)
        height = np.minimum(bottom[:, np.newaxis], bottom) - np.maximum(top[:, np.newaxis], top)
        common = np.maximum(width, 0) * np.maximum(height, 0)
        overlaps: NDArray[np.float32] = common / (area[:, np.newaxis] + area - common)
        return overlaps


# --- custom attributes ----------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e-?\d+)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)


def options(attributes: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """The `threshold`, which is the lowest score, itself included, and `max_detections`, where they are given.

    Raises BadRequest for a value that makes no sense, and for one of the two given twice.
    """
    given: dict[str, float] = {}
    for name, text in attributes:
        if name not in _ATTRIBUTES:
            continue
        if name in given:
            raise BadRequest(f"The custom attribute {name} is given twice; give it once.")
        try:
            given[name] = _ATTRIBUTES[name](text)
        except ValueError as wanted:
            raise BadRequest(f"The custom attribute {name} is {text!r:.80}, it must be {wanted}.") from wanted
    return given


def postprocess(values: NDArray[np.float32], options: Mapping[str, float]) -> NDArray[np.float32]:
    """What the options leave of detections, float32 (d, 6) by falling score."""
    found = values[values[:, _SCORE] >= np.float32(options.get("threshold", 0))]
    return found[: int(options.get("max_detections", len(found)))]


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


def _prediction(answer: Answer) -> str:
    return json.dumps({"prediction": answer.values.tolist()})


def _prediction_line(answer: Answer) -> str:
    return _prediction(answer) + "\n"


def _annotation(answer: Answer) -> str:
    """As the training data are annotated: whole pixels of the upright image, from its top left corner."""
    scale = (answer.width, answer.height, answer.width, answer.height)
    edges = np.rint(answer.values[:, _BOX].astype(np.float64) * scale).astype(int).tolist()
    annotations = [
        {"class_id": int(index), "score": score, "left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0}
        for (index, score), (x0, y0, x1, y1) in zip(answer.values[:, :2].tolist(), edges, strict=True)
    ]
    size = {"width": answer.width, "height": answer.height, "depth": answer.spec.channels}
    return json.dumps({"image_size": [size], "annotations": annotations})


def _verbose(answer: Answer) -> str:
    """With names; a box is its left, top, width and height in fractions of the upright image."""
    prediction = [
        {
            "label": answer.class_names[int(index)],
            "class_id": int(index),
            "score": score,
            "box": {"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0},
        }
        for index, score, x0, y0, x1, y1 in answer.values.tolist()
    ]
    return json.dumps({"prediction": prediction})


FORMS: tuple[Form[Answer], ...] = (
    Form("application/json", _prediction),
    Form("application/jsonlines", _prediction_line),
    Form("application/json", _annotation, "annotation"),
    Form("application/json", _verbose, "verbose"),
)
BATCH_FORMS = FORMS
