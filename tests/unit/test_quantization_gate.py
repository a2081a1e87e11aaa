"""The acceptance thresholds of an int8 graph: for each, the last value that passes and the first that fails."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.artifact import CLASSIFICATION, DETECTION, SEGMENTATION
from train.quantization import gate
from train.quantization.gate import Agreement, Score

# ---- the score ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photos", "tolerance", "lost", "passed"),
    [
        (90, 0.01, 1, True),  # one may always be lost, although it is 0.011 of 90
        (90, 0.01, 2, False),
        (30, 0.0, 1, True),
        (30, 0.0, 2, False),
        (300, 0.01, 3, True),
        (300, 0.01, 4, False),
        (300, 0.05, 15, True),
        (300, 0.05, 16, False),
        (300, 0.01, -20, True),  # more correct predictions than before
    ],
)
def test_the_tolerance_limits_the_lost_correct_predictions_but_one_is_always_allowed(
    photos: int, tolerance: float, lost: int, passed: bool
) -> None:
    right = photos - 25
    score = Score(right / photos, (right - lost) / photos, photos, tolerance)
    assert (round(score.lost, 6), score.passed) == (lost, passed)


@pytest.mark.parametrize(("photos", "int8", "passed"), [(400, 0.6181, True), (400, 0.6179, False), (20, 0.5781, True)])
def test_a_mean_over_classes_is_also_measured_in_photos(photos: int, int8: float, passed: bool) -> None:
    assert Score(0.6280, int8, photos, 0.01).passed is passed


def test_a_score_that_is_not_a_number_does_not_pass() -> None:
    assert not Score(0.9, float("nan"), 100, 0.01).passed
    assert not Score(float("nan"), 0.9, 100, 0.01).passed


def test_a_score_is_shown_with_both_values_and_the_limit() -> None:
    assert (
        str(Score(0.9, 0.85, 100, 0.02))
        == "validation score 0.8500 instead of 0.9000, 5.0 of 100 correct predictions lost (at most 2)"
    )


def test_a_small_gain_is_shown_as_no_loss() -> None:
    assert " 0.0 of 12 correct predictions lost" in str(Score(0.8587, 0.8616, 12, 0.01))


# ---- classification ----------------------------------------------------------------------------------------------


def two_classes(margins: list[float]) -> list[np.ndarray]:
    """Return probabilities of two classes with these margins."""
    return [np.array([0.5 + margin / 2, 0.5 - margin / 2], np.float32) for margin in margins]


def exchange(predictions: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Exchange the classes of the first `count` predictions."""
    return [prediction[::-1] if number < count else prediction for number, prediction in enumerate(predictions)]


@pytest.mark.parametrize(("changed", "passed"), [(2, True), (3, False)])
def test_98_of_100_confident_predictions_must_be_the_same(changed: int, passed: bool) -> None:
    before = two_classes([0.4] * 100)
    same, _ = gate.agreements(CLASSIFICATION, before, exchange(before, changed))
    assert (same.count, same.passed) == (100, passed)


def test_a_prediction_with_a_margin_below_a_tenth_may_change() -> None:
    before = two_classes([0.0999] * 50 + [0.1001] * 50)
    same, _ = gate.agreements(CLASSIFICATION, before, exchange(before, 50))
    assert (same.value, same.count) == (1, 50)
    same, _ = gate.agreements(CLASSIFICATION, before, exchange(before, 53))
    assert (round(same.value, 6), same.passed) == (47 / 50, False)


@pytest.mark.parametrize(("moved", "passed"), [(0.0499, True), (0.0501, False)])
def test_probabilities_may_change_by_a_twentieth_on_average(moved: float, passed: bool) -> None:
    before, after = two_classes([0.8] * 50), two_classes([0.8 - 2 * moved] * 50)
    same, shift = gate.agreements(CLASSIFICATION, before, after)
    assert same.passed
    assert (round(shift.value, 4), shift.passed) == (moved, passed)


def test_many_classes_do_not_hide_a_change_of_probability() -> None:
    before = [np.array([0.9, *[0.1 / 999] * 999], np.float32)] * 50
    after = [np.array([0.8, *[0.2 / 999] * 999], np.float32)] * 50
    _, shift = gate.agreements(CLASSIFICATION, before, after)
    assert not shift.passed


def test_a_graph_without_confident_predictions_does_not_pass() -> None:
    before = two_classes([0.05] * 100)
    same, _ = gate.agreements(CLASSIFICATION, before, before)
    assert (same.count, same.passed) == (0, False)


def test_predictions_of_a_single_class_are_always_confident() -> None:
    before = [np.ones(1, np.float32)] * 50
    assert all(agreement.passed for agreement in gate.agreements(CLASSIFICATION, before, before))


def test_each_label_of_a_multi_label_model_counts_as_a_prediction() -> None:
    before = [np.array([0.9, 0.1, 0.52, 0.8], np.float32)] * 25
    after = [np.array([0.9, 0.1, 0.48, 0.8], np.float32)] * 25  # 0.52 is not confident
    same, shift = gate.agreements(CLASSIFICATION, before, after, multi_label=True)
    assert (same.count, same.value, shift.count) == (75, 1, 100)
    after[0] = np.array([0.9, 0.6, 0.52, 0.4], np.float32)
    assert not gate.agreements(CLASSIFICATION, before, after, multi_label=True)[0].passed


# ---- detection ---------------------------------------------------------------------------------------------------


def row(label: int = 0, score: float = 0.9, right: float = 0.4) -> list[float]:
    return [label, score, 0.0, 0.0, right, 0.4]


def rows(*detections: list[float]) -> np.ndarray:
    return np.array(detections, np.float32).reshape(-1, 6)


def found_again(before: list[np.ndarray], after: list[np.ndarray]) -> Agreement:
    (agreement,) = gate.agreements(DETECTION, before, after)
    return agreement


@pytest.mark.parametrize(
    ("after", "value"),
    [
        (row(), 1),
        (row(score=0.02), 1),  # with any score
        (row(label=1), 0),
        (row(right=0.301), 1),  # an IoU of 0.7525
        (row(right=0.299), 0),  # 0.7475
        (row(right=0.531), 1),  # 0.7533
        (row(right=0.535), 0),  # 0.7477
    ],
)
def test_a_box_is_found_again_by_a_box_of_its_class_with_three_quarters_overlap(
    after: list[float], value: float
) -> None:
    assert found_again([rows(row())], [rows(row(label=1, right=0.1), after)]).value == value
    assert found_again([rows(row())], [rows()]).value == 0


def test_boxes_with_a_score_below_three_tenths_need_not_be_found_again() -> None:
    agreement = found_again([rows(row(score=0.3), row(score=0.299, label=1))], [rows(row())])
    assert (agreement.value, agreement.count) == (1, 1)


@pytest.mark.parametrize(("gone", "passed"), [(1, True), (2, False)])
def test_19_of_20_boxes_must_be_found_again(gone: int, passed: bool) -> None:
    agreement = found_again([rows(row())] * 20, [rows()] * gone + [rows(row())] * (20 - gone))
    assert (agreement.count, agreement.passed) == (20, passed)


def test_a_float_graph_without_detections_does_not_pass() -> None:
    assert not found_again([rows()] * 50, [rows()] * 50).passed


def test_a_box_without_an_area_overlaps_nothing() -> None:
    flat = row(right=0.0)
    assert found_again([rows(flat)], [rows(flat)]).value == 0


# ---- segmentation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changed", "passed"), [(100, True), (101, False)])
def test_99_of_100_pixels_must_be_the_same(changed: int, passed: bool) -> None:
    before = [np.zeros((50, 100), np.uint8), np.zeros((100, 50), np.uint8)]
    after = [mask.copy() for mask in before]
    after[1].flat[:changed] = 1
    (agreement,) = gate.agreements(SEGMENTATION, before, after)
    assert (agreement.count, agreement.passed) == (10_000, passed)


# ---- all of them -------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_graph_with_identical_predictions_always_passes(margins: list[float]) -> None:
    before = [*two_classes(margins), *two_classes([0.5])]
    assert all(agreement.passed for agreement in gate.agreements(CLASSIFICATION, before, before))


def test_an_agreement_is_shown_with_value_count_and_limit() -> None:
    assert str(Agreement("boxes found again", 0.9, 0.95, 58)) == "boxes found again 0.9000 (of 58; at least 0.95)"
    moved = Agreement("probabilities moved by", 0.1, 0.05, 90, at_most=True)
    assert str(moved) == "probabilities moved by 0.1000 (of 90; at most 0.05)"
