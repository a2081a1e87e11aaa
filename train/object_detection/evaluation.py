"""Evaluate the network on the validation photos: detections and mean average precision."""

from collections.abc import Sequence

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from train.learner import Evaluated
from train.object_detection import average_precision
from train.object_detection.data import Data
from train.object_detection.hyperparameters import Hyperparameters
from train.object_detection.log_lines import Detections
from train.object_detection.network import Detector
from train.trainer import validation_batches

_BATCH = 16
_LEVELS = tuple(np.arange(0, 1.1, 0.1).tolist())
"""GluonCV's recall levels, so that logged values are comparable. One is 0.30000000000000004, so 3 / 10 is below it."""
SCORE_FLOOR = 0.01
"""Detections below this score are dropped, as in GluonCV and in the server."""


def evaluate(net: Detector, data: Data, hp: Hyperparameters) -> Evaluated[Detections]:
    """Evaluate the network on the validation photos of all hosts; each host predicts its part.

    Uses MXNet's non-maximum suppression. Raises Stopped after a stop request, and FloatingPointError if a prediction is
    not finite.
    """
    count = len(data.validation)
    detected: Detections = []
    for batch in validation_batches(data.validation_tensor, count, _BATCH):
        scores, boxes = net(mx.nd.array(batch))
        if not (np.isfinite(scores.asnumpy()).all() and np.isfinite(boxes.asnumpy()).all()):
            raise FloatingPointError("the network's predictions are not finite")
        detected += detections(scores, boxes, hp.nms_threshold, hp.nms_topk)
    del detected[count:]
    detected = data.validation_distribution.gather(detected)
    value = mean_average_precision(detected, data.truths, hp.image_shape, hp.overlap_threshold)
    return Evaluated(value, {"mAP": value}, detected)


def detections(scores: mx.nd.NDArray, boxes: mx.nd.NDArray, threshold: float, top_k: int) -> list[NDArray[np.float32]]:
    """Return the detections of each picture, float32 (d, 6): class, score, xmin, ymin, xmax, ymax, best first.

    `scores` (N, A, K) and `boxes` (N, A, 4) are the detector's outputs. MXNet's non-maximum suppression takes the
    `top_k` best boxes across all classes, and drops those that overlap a better one of their class by more than
    `threshold`.
    """
    count, anchors, classes = scores.shape
    ids = mx.nd.broadcast_like(mx.nd.arange(classes).reshape((1, 1, classes, 1)), scores.expand_dims(-1))
    corners = boxes.expand_dims(2).broadcast_to((count, anchors, classes, 4))
    rows = mx.nd.concat(ids, scores.expand_dims(-1), corners, dim=-1).reshape((count, -1, 6))
    kept = mx.nd.contrib.box_nms(
        rows, overlap_thresh=threshold, valid_thresh=SCORE_FLOOR, topk=top_k, id_index=0, score_index=1, coord_start=2
    ).asnumpy()
    by_picture = [rows[rows[:, 1] > 0] for rows in kept]  # -1 marks suppressed boxes
    for rows in by_picture:
        rows[:, 2:] = rows[:, 2:].clip(0, 1)
    return by_picture


def mean_average_precision(
    detected: Sequence[NDArray[np.float32]],
    truths: Sequence[NDArray[np.float32]],
    side: int,
    overlap: float,
    eleven_points: bool = True,
) -> float:
    """Return the mean, over classes, of the average precision at an IoU of `overlap`.

    `detected` (d, 6) and `truths` (n, 5) are float32 for each picture, in fractions. As in PASCAL VOC, the overlap is
    measured in pixels of a `side` x `side` picture, far edge included. With `eleven_points` the average precision is
    VOC 2007's mean of the precision at eleven recall levels, otherwise the area under the curve (VOC 2010). Classes
    without a ground truth box are ignored; NaN if no class has one.
    """
    classes = 1 + max((int(rows[:, 0].max(initial=-1)) for rows in (*detected, *truths)), default=-1)
    pixels = np.array([1, 1, side, side, side, side], np.float32)
    matches = average_precision.match(
        [truth * pixels[1:] for truth in truths], [rows * pixels for rows in detected], classes, overlap, far_edge=1
    )
    if not eleven_points:
        return average_precision.mean(matches, average_precision.area_under_curve)
    return average_precision.mean(matches, lambda of_class: average_precision.voc07(of_class, _LEVELS))
