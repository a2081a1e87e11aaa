"""mIOU and pixel accuracy on cases calculated by hand, and on random masks compared with the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from train.semantic_segmentation import metrics as ev

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
PREDICTED = np.array([[0, 1, 1, 1], [0, 0, 0, 2]], np.uint8)


def test_a_case_calculated_by_hand() -> None:
    matrix = ev.confusion(PREDICTED, TRUTH, 4)
    # Class 0: 3 of 4 pixels and 1 false positive: 3/5. Class 1: 2 of 3 and 1 false positive: 2/4. 5 of 7 are correct.
    assert matrix[:2, :2].tolist() == [[3, 1], [1, 2]]
    assert ev.iou(matrix)[:2].tolist() == [pytest.approx(3 / 5), pytest.approx(2 / 4)]
    assert ev.pixel_accuracy(matrix) == pytest.approx(5 / 7)


def test_ignored_pixels_do_not_count() -> None:
    assert ev.confusion(PREDICTED, TRUTH, 4).sum() == 7
    assert ev.confusion(PREDICTED, np.full_like(TRUTH, 255), 4).sum() == 0


def test_absent_classes_count_as_0_in_one_mean_and_not_in_the_other() -> None:
    matrix = ev.confusion(PREDICTED, TRUTH, 4)
    assert ev.mean_iou(matrix) == pytest.approx((3 / 5 + 2 / 4) / 4)
    assert ev.mean_iou_of_occurring(matrix) == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert ev.occurring(matrix).tolist() == [0, 1]


def test_scores_without_pixels_are_0() -> None:
    nothing = np.zeros((3, 3), np.int64)
    assert (ev.mean_iou(nothing), ev.mean_iou_of_occurring(nothing), ev.pixel_accuracy(nothing)) == (0, 0, 0)


def test_a_perfect_mask_scores_1() -> None:
    matrix = ev.confusion(TRUTH, TRUTH, 2)
    assert (ev.mean_iou(matrix), ev.pixel_accuracy(matrix)) == (1, 1)


masks = drawn.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, 255]))


@given(masks, drawn.arrays(np.uint8, (5, 7), elements=st.integers(0, 3)))
def test_iou_matches_counting_pixels(truth: np.ndarray, predicted: np.ndarray) -> None:
    scores = ev.iou(ev.confusion(predicted, truth, 4))
    known = truth != 255
    for label in range(4):
        both = (known & (truth == label) & (predicted == label)).sum()
        either = (known & ((truth == label) | (predicted == label))).sum()
        assert (np.isnan(scores[label]) and not either) or scores[label] == pytest.approx(both / either)


@given(masks, masks.map(lambda mask: mask % 4))
def test_the_matrix_of_two_photos_is_the_sum_of_their_matrices(truth: np.ndarray, predicted: np.ndarray) -> None:
    whole = ev.confusion(np.hstack([predicted, predicted]), np.hstack([truth, truth]), 4)
    assert (whole == 2 * ev.confusion(predicted, truth, 4)).all()
