"""The evaluation of object-detection: detections of a network, and their mean average precision."""

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
"""GluonCV's levels of recall, with which logged values compare: 0.30000000000000004 is one, and 3 of 10 are below."""
SCORE_FLOOR = 0.01
"""Detections below it are not kept: GluonCV's floor, and the server's."""


def evaluate(net: Detector, data: Data, hp: Hyperparameters) -> Evaluated[Detections]:
    """Find the boxes on the validation photos of all hosts, each on its own, by MXNet's own suppression.

    Raises Stopped, and FloatingPointError when the network answers with numbers that are not finite.
    """
    count = len(data.validation)
    found: Detections = []
    for batch in validation_batches(data.validation_tensor, count, _BATCH):
        scores, boxes = net(mx.nd.array(batch))
        if not (np.isfinite(scores.asnumpy()).all() and np.isfinite(boxes.asnumpy()).all()):
            raise FloatingPointError("the network's answers are not finite")
        found += detections(scores, boxes, hp.nms_threshold, hp.nms_topk)
    del found[count:]
    found = data.validation_distribution.gather(found)
    value = mean_average_precision(found, data.truths, hp.image_shape, hp.overlap_threshold)
    return Evaluated(value, {"mAP": value}, found)


def detections(scores: mx.nd.NDArray, boxes: mx.nd.NDArray, threshold: float, top_k: int) -> list[NDArray[np.float32]]:
    """Return each picture's detections, float32 (d, 6): class, score, xmin, ymin, xmax, ymax, the best first.

    `scores` (N, A, K) and `boxes` (N, A, 4) are the detector's. MXNet's own non-maximum suppression: within a class,
    boxes that overlap a better one by more than `threshold`; of all classes together the `top_k` best come to it.
    """
    count, anchors, classes = scores.shape
    ids = mx.nd.broadcast_like(mx.nd.arange(classes).reshape((1, 1, classes, 1)), scores.expand_dims(-1))
    corners = boxes.expand_dims(2).broadcast_to((count, anchors, classes, 4))
    rows = mx.nd.concat(ids, scores.expand_dims(-1), corners, dim=-1).reshape((count, -1, 6))
    kept = mx.nd.contrib.box_nms(
        rows, overlap_thresh=threshold, valid_thresh=SCORE_FLOOR, topk=top_k, id_index=0, score_index=1, coord_start=2
    ).asnumpy()
    found = [picture[picture[:, 1] > 0] for picture in kept]  # what is suppressed is marked by -1
    for picture in found:
        picture[:, 2:] = picture[:, 2:].clip(0, 1)
    return found


def mean_average_precision(
    found: Sequence[NDArray[np.float32]],
    truths: Sequence[NDArray[np.float32]],
    side: int,
    overlap: float,
    eleven_points: bool = True,
) -> float:
    """Return the mean over classes of the average precision at an IoU of `overlap`.

    `found` float32 (d, 6) and `truths` float32 (n, 5) for each picture, coordinates as shares of it; they are measured
    in pixels of a picture of `side` x `side`, the far edge included, as PASCAL VOC does. `eleven_points`: VOC 2007's
    mean of the precision at eleven recalls; otherwise the area under the curve (VOC 2010). A class without a true box
    has no part in the mean; NaN when no class has one.
    """
    classes = 1 + max((int(rows[:, 0].max(initial=-1)) for rows in (*found, *truths)), default=-1)
    pixels = np.array([1, 1, side, side, side, side], np.float32)
    matches = average_precision.match(
        [truth * pixels[1:] for truth in truths], [rows * pixels for rows in found], classes, overlap, far_edge=1
    )
    if not eleven_points:
        return average_precision.mean(matches, average_precision.area_under_curve)
    return average_precision.mean(matches, lambda one: average_precision.voc07(one, _LEVELS))
