"""The gate before an int8 graph: at each threshold, the last value that passes and the first that does not."""

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
        (90, 0.01, 1, True),  # one may always be lost, though it is 0.011 of 90
        (90, 0.01, 2, False),
        (30, 0.0, 1, True),
        (30, 0.0, 2, False),
        (300, 0.01, 3, True),
        (300, 0.01, 4, False),
        (300, 0.05, 15, True),
        (300, 0.05, 16, False),
        (300, 0.01, -20, True),  # more right answers than before
    ],
)
def test_as_many_right_answers_may_be_lost_as_the_tolerance_says_but_always_one(
    photos: int, tolerance: float, lost: int, passed: bool
) -> None:
    right = photos - 25
    score = Score(right / photos, (right - lost) / photos, photos, tolerance)
    assert (round(score.lost, 6), score.passed) == (lost, passed)


@pytest.mark.parametrize(("photos", "int8", "passed"), [(400, 0.6181, True), (400, 0.6179, False), (20, 0.5781, True)])
def test_a_mean_over_classes_is_measured_in_photos_too(photos: int, int8: float, passed: bool) -> None:
    assert Score(0.6280, int8, photos, 0.01).passed is passed


def test_a_score_that_is_not_a_number_does_not_pass() -> None:
    assert not Score(0.9, float("nan"), 100, 0.01).passed
    assert not Score(float("nan"), 0.9, 100, 0.01).passed


def test_a_score_tells_both_values_and_what_may_be_lost() -> None:
    assert (
        str(Score(0.9, 0.85, 100, 0.02))
        == "validation score 0.8500 instead of 0.9000, 5.0 of 100 correct predictions lost (at most 2)"
    )


def test_a_little_gained_is_nothing_lost() -> None:
    assert " 0.0 of 12 correct predictions lost" in str(Score(0.8587, 0.8616, 12, 0.01))


# ---- classification ----------------------------------------------------------------------------------------------


def two(margins: list[float]) -> list[np.ndarray]:
    """Probabilities of two classes, the first ahead by each margin."""
    return [np.array([0.5 + margin / 2, 0.5 - margin / 2], np.float32) for margin in margins]


def turned(answers: list[np.ndarray], count: int) -> list[np.ndarray]:
    """The answers, the first `count` of them with the classes exchanged."""
    return [answer[::-1] if number < count else answer for number, answer in enumerate(answers)]


@pytest.mark.parametrize(("other", "passed"), [(2, True), (3, False)])
def test_98_of_100_sure_answers_must_be_the_same(other: int, passed: bool) -> None:
    before = two([0.4] * 100)
    same, _ = gate.agreements(CLASSIFICATION, before, turned(before, other))
    assert (same.count, same.passed) == (100, passed)


def test_an_answer_with_a_margin_below_a_tenth_may_change() -> None:
    before = two([0.0999] * 50 + [0.1001] * 50)
    same, _ = gate.agreements(CLASSIFICATION, before, turned(before, 50))
    assert (same.value, same.count) == (1, 50)
    same, _ = gate.agreements(CLASSIFICATION, before, turned(before, 53))
    assert (round(same.value, 6), same.passed) == (47 / 50, False)


@pytest.mark.parametrize(("moved", "passed"), [(0.0499, True), (0.0501, False)])
def test_the_probability_of_the_answer_moves_by_a_twentieth_at_most_in_the_mean(moved: float, passed: bool) -> None:
    before, after = two([0.8] * 50), two([0.8 - 2 * moved] * 50)
    same, shift = gate.agreements(CLASSIFICATION, before, after)
    assert same.passed
    assert (round(shift.value, 4), shift.passed) == (moved, passed)


def test_how_many_classes_there_are_does_not_dilute_what_moves() -> None:
    before = [np.array([0.9, *[0.1 / 999] * 999], np.float32)] * 50
    after = [np.array([0.8, *[0.2 / 999] * 999], np.float32)] * 50
    _, shift = gate.agreements(CLASSIFICATION, before, after)
    assert not shift.passed


def test_where_no_answer_is_sure_nothing_is_shown() -> None:
    before = two([0.05] * 100)
    same, _ = gate.agreements(CLASSIFICATION, before, before)
    assert (same.count, same.passed) == (0, False)


def test_one_class_is_always_sure() -> None:
    before = [np.ones(1, np.float32)] * 50
    assert all(each.passed for each in gate.agreements(CLASSIFICATION, before, before))


def test_each_of_several_labels_is_an_answer_of_its_own() -> None:
    before = [np.array([0.9, 0.1, 0.52, 0.8], np.float32)] * 25
    after = [np.array([0.9, 0.1, 0.48, 0.8], np.float32)] * 25  # 0.52 is not sure
    same, shift = gate.agreements(CLASSIFICATION, before, after, multi_label=True)
    assert (same.count, same.value, shift.count) == (75, 1, 100)
    after[0] = np.array([0.9, 0.6, 0.52, 0.4], np.float32)
    assert not gate.agreements(CLASSIFICATION, before, after, multi_label=True)[0].passed


# ---- detection ---------------------------------------------------------------------------------------------------


def row(label: int = 0, score: float = 0.9, right: float = 0.4) -> list[float]:
    return [label, score, 0.0, 0.0, right, 0.4]


def rows(*found: list[float]) -> np.ndarray:
    return np.array(found, np.float32).reshape(-1, 6)


def found_again(before: list[np.ndarray], after: list[np.ndarray]) -> Agreement:
    (agreement,) = gate.agreements(DETECTION, before, after)
    return agreement


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (row(), 1),
        (row(score=0.02), 1),  # whatever its score
        (row(label=1), 0),
        (row(right=0.301), 1),  # an IoU of 0.7525
        (row(right=0.299), 0),  # 0.7475
        (row(right=0.531), 1),  # 0.7533
        (row(right=0.535), 0),  # 0.7477
    ],
)
def test_a_box_is_found_again_by_one_of_its_class_that_overlaps_it_by_three_quarters(
    after: list[float], found: float
) -> None:
    assert found_again([rows(row())], [rows(row(label=1, right=0.1), after)]).value == found
    assert found_again([rows(row())], [rows()]).value == 0


def test_boxes_with_a_score_below_three_tenths_need_not_be_found() -> None:
    agreement = found_again([rows(row(score=0.3), row(score=0.299, label=1))], [rows(row())])
    assert (agreement.value, agreement.count) == (1, 1)


@pytest.mark.parametrize(("gone", "passed"), [(1, True), (2, False)])
def test_19_of_20_boxes_must_be_found_again(gone: int, passed: bool) -> None:
    agreement = found_again([rows(row())] * 20, [rows()] * gone + [rows(row())] * (20 - gone))
    assert (agreement.count, agreement.passed) == (20, passed)


def test_where_the_float_graph_finds_nothing_nothing_is_shown() -> None:
    assert not found_again([rows()] * 50, [rows()] * 50).passed


def test_a_box_without_an_area_overlaps_nothing() -> None:
    flat = row(right=0.0)
    assert found_again([rows(flat)], [rows(flat)]).value == 0


# ---- segmentation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("other", "passed"), [(100, True), (101, False)])
def test_99_of_100_pixels_of_all_photos_must_be_the_same(other: int, passed: bool) -> None:
    before = [np.zeros((50, 100), np.uint8), np.zeros((100, 50), np.uint8)]
    after = [mask.copy() for mask in before]
    after[1].flat[:other] = 1
    (agreement,) = gate.agreements(SEGMENTATION, before, after)
    assert (agreement.count, agreement.passed) == (10_000, passed)


# ---- all of them -------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_graph_that_answers_the_same_passes_whatever_it_answers(margins: list[float]) -> None:
    before = [*two(margins), *two([0.5])]
    assert all(each.passed for each in gate.agreements(CLASSIFICATION, before, before))


def test_an_agreement_tells_its_value_of_how_many_and_the_limit() -> None:
    assert str(Agreement("boxes found again", 0.9, 0.95, 58)) == "boxes found again 0.9000 (of 58; at least 0.95)"
    moved = Agreement("probabilities moved by", 0.1, 0.05, 90, at_most=True)
    assert str(moved) == "probabilities moved by 0.1000 (of 90; at most 0.05)"
