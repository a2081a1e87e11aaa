"""Detections while training are the server's, and mean average precision is what hand-worked cases say."""

import mxnet as mx
import numpy as np
import pytest

from serve.artifact import Nms
from serve.tasks.detection import select
from train.object_detection.evaluation import SCORE_FLOOR, detections, mean_average_precision

BOX, OTHER, BESIDE = [0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9], [0.4, 0.4, 0.5, 0.5]


def precision(found: list[list[float]], truth: list[list[float]], eleven_points: bool, overlap: float = 0.5) -> float:
    """Return the mean average precision of detections on one picture of 1000 x 1000 pixels."""
    rows, true = np.array(found, np.float32).reshape(-1, 6), np.array(truth, np.float32).reshape(-1, 5)
    return mean_average_precision([rows], [true], 1000, overlap, eleven_points)


@pytest.mark.parametrize(
    ("found", "truth", "by_eleven_points", "by_area"),
    [
        pytest.param([[0, 0.9, *BOX], [1, 0.8, *OTHER]], [[0, *BOX], [1, *OTHER]], 1.0, 1.0, id="every box found"),
        pytest.param([], [[0, *BOX]], 0.0, 0.0, id="no detections"),
        # Two boxes of one class, one found, then a second detection of the same box: precision 1 up to recall 0.5.
        pytest.param(
            [[0, 0.9, *BOX], [0, 0.8, *BOX]], [[0, *BOX], [0, *OTHER]], 6 / 11, 0.5, id="one found twice, one missed"
        ),
        # The wrong detection is the surer one: precision 1/2 at recall 1.
        pytest.param([[0, 0.9, *BESIDE], [0, 0.8, *BOX]], [[0, *BOX]], 0.5, 0.5, id="a surer mistake"),
        # A class without a true box has no part in the mean, even where something of it is detected.
        pytest.param([[0, 0.9, *BOX], [1, 0.9, *OTHER]], [[0, *BOX]], 1.0, 1.0, id="a class without boxes"),
    ],
)
def test_precision_of_hand_worked_cases(
    found: list[list[float]], truth: list[list[float]], by_eleven_points: float, by_area: float
) -> None:
    assert precision(found, truth, eleven_points=True) == pytest.approx(by_eleven_points)
    assert precision(found, truth, eleven_points=False) == pytest.approx(by_area)


@pytest.mark.parametrize(("shift", "wanted"), [(0.001, 0.0), (-0.001, 1.0)], ids=["just below", "just above"])
def test_a_box_is_found_from_the_overlap_threshold_on(shift: float, wanted: float) -> None:
    half = [0.1, 0.1, 0.3, 0.2]  # of BOX, whose sides are 200 pixels and, the far edge included, 201
    overlap = (201 * 101) / (201 * 201)
    found = precision([[0, 0.9, *half]], [[0, *BOX]], eleven_points=True, overlap=overlap + shift)
    assert found == pytest.approx(wanted)


def test_suppression_while_training_is_the_servers() -> None:
    rng = np.random.default_rng(4)
    scores = (rng.permutation(600 * 3).reshape(1, 600, 3) / 1800).astype(np.float32) ** 3  # without ties
    low = rng.uniform(-0.1, 0.8, (1, 600, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (1, 600, 2))], axis=2).astype(np.float32)
    found = detections(mx.nd.array(scores), mx.nd.array(boxes), 0.45, 100)[0]
    assert len(found) >= 10
    np.testing.assert_allclose(found, select(scores[0], boxes[0], Nms(0.45, 100, SCORE_FLOOR)), rtol=0, atol=1e-6)
