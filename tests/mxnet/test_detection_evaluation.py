"""Evaluation of object-detection: suppression matches the server's, and mean average precision is correct."""

import mxnet as mx
import numpy as np
import pytest
from gluoncv.utils.metrics.voc_detection import VOC07MApMetric, VOCMApMetric

from serve.artifact import Nms
from serve.tasks.detection import select
from train.object_detection.evaluation import SCORE_FLOOR, detections, mean_average_precision

BOX, OTHER, ELSEWHERE = [0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9], [0.4, 0.4, 0.5, 0.5]


def precision(boxes: list[list[float]], truth: list[list[float]], eleven_points: bool, overlap: float = 0.5) -> float:
    """Return the mean average precision of detections on one picture of 1000 x 1000 pixels."""
    rows, true = np.array(boxes, np.float32).reshape(-1, 6), np.array(truth, np.float32).reshape(-1, 5)
    return mean_average_precision([rows], [true], 1000, overlap, eleven_points)


@pytest.mark.parametrize(
    ("boxes", "truth", "by_eleven_points", "by_area"),
    [
        pytest.param([[0, 0.9, *BOX], [1, 0.8, *OTHER]], [[0, *BOX], [1, *OTHER]], 1.0, 1.0, id="all boxes detected"),
        pytest.param([], [[0, *BOX]], 0.0, 0.0, id="no detections"),
        # Two boxes of one class. One is detected twice: precision 1 up to recall 0.5.
        pytest.param(
            [[0, 0.9, *BOX], [0, 0.8, *BOX]], [[0, *BOX], [0, *OTHER]], 6 / 11, 0.5, id="one detected twice, one missed"
        ),
        # The wrong detection has the higher score: precision 1/2 at recall 1.
        pytest.param([[0, 0.9, *ELSEWHERE], [0, 0.8, *BOX]], [[0, *BOX]], 0.5, 0.5, id="a mistake with a higher score"),
        # A class without true boxes does not count in the mean, even if it is detected.
        pytest.param([[0, 0.9, *BOX], [1, 0.9, *OTHER]], [[0, *BOX]], 1.0, 1.0, id="a class without boxes"),
    ],
)
def test_average_precision_matches_calculations_by_hand(
    boxes: list[list[float]], truth: list[list[float]], by_eleven_points: float, by_area: float
) -> None:
    assert precision(boxes, truth, eleven_points=True) == pytest.approx(by_eleven_points)
    assert precision(boxes, truth, eleven_points=False) == pytest.approx(by_area)


@pytest.mark.parametrize(("shift", "expected"), [(0.001, 0.0), (-0.001, 1.0)], ids=["just below", "just above"])
def test_a_detection_counts_if_its_overlap_reaches_the_threshold(shift: float, expected: float) -> None:
    half = [0.1, 0.1, 0.3, 0.2]  # half of BOX, which has sides of 201 pixels, counting both edges
    overlap = (201 * 101) / (201 * 201)
    value = precision([[0, 0.9, *half]], [[0, *BOX]], eleven_points=True, overlap=overlap + shift)
    assert value == pytest.approx(expected)


def test_suppression_in_training_matches_the_servers() -> None:
    rng = np.random.default_rng(4)
    scores = (rng.permutation(600 * 3).reshape(1, 600, 3) / 1800).astype(np.float32) ** 3  # without ties
    low = rng.uniform(-0.1, 0.8, (1, 600, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (1, 600, 2))], axis=2).astype(np.float32)
    detected = detections(mx.nd.array(scores), mx.nd.array(boxes), 0.45, 100)[0]
    assert len(detected) >= 10
    np.testing.assert_allclose(detected, select(scores[0], boxes[0], Nms(0.45, 100, SCORE_FLOOR)), rtol=0, atol=1e-6)


def random_detections(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return detections and true boxes of some pictures, with near misses, duplicates, and pictures without any."""
    detected, truths = [], []
    for _ in range(rng.integers(1, 30)):
        low = rng.uniform(0, 0.6, (rng.integers(0, 4), 2))
        kinds = rng.integers(0, 3, (len(low), 1))
        truths.append(np.concatenate([kinds, low, low + rng.uniform(0.05, 0.4, low.shape)], axis=1).astype(np.float32))
        near = np.repeat(truths[-1], 2, axis=0)[rng.uniform(size=2 * len(low)) < 0.7]
        corners = near[:, 1:] + rng.normal(0, 0.03, (len(near), 4))
        scores = rng.uniform(0.01, 1, (len(near), 1))
        detected.append(np.concatenate([near[:, :1], scores, corners], axis=1).astype(np.float32))
    return detected, truths


@pytest.mark.parametrize(
    ("eleven_points", "gluoncv"), [(True, VOC07MApMetric), (False, VOCMApMetric)], ids=["eleven points", "area"]
)
def test_mean_average_precision_matches_gluoncvs(eleven_points: bool, gluoncv: type[VOCMApMetric]) -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        detected, truths = random_detections(rng)
        metric = gluoncv(iou_thresh=0.5)
        for rows, true in zip(detected, truths, strict=True):
            if len(rows) or len(true):
                metric.update(*([part[None]] for part in (rows[:, 2:] * 300, rows[:, 0], rows[:, 1])),
                              [true[None, :, 1:] * 300], [true[None, :, 0]])  # fmt: skip
        expected = metric.get()[1] if any(map(len, truths)) else np.nan
        value = mean_average_precision(detected, truths, 300, 0.5, eleven_points)
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_three_of_ten_boxes_do_not_reach_gluoncvs_fourth_recall_level() -> None:
    """GluonCV's levels are floating-point multiples of 0.1, and 3 * 0.1 is greater than 3 / 10."""
    boxes = np.array([[0, at / 10, 0, at / 10 + 0.05, 0.05] for at in range(10)], np.float32)
    detected = np.insert(boxes[:3], 1, 0.9, axis=1)
    assert mean_average_precision([detected], [boxes], 300, 0.5) == pytest.approx(3 / 11)


def test_detections_with_equal_scores_are_ranked_in_the_order_of_the_photos() -> None:
    box = np.array([[0, 0.1, 0.1, 0.5, 0.5]], np.float32)
    hit, miss = (np.insert(rows, 1, 0.5, axis=1) for rows in (box, box + np.float32([0, 0.4, 0.4, 0.4, 0.4])))
    none = np.zeros((0, 5), np.float32)
    assert mean_average_precision([hit, miss], [box, none], 300, 0.5, eleven_points=False) == 1
    assert mean_average_precision([miss, hit], [none, box], 300, 0.5, eleven_points=False) == 0.5
