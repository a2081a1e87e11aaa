"""Average precision at 11 levels of recall, on cases that were worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.object_detection import average_precision as ap

NONE = np.zeros((0, 6))
EMPTY = np.zeros((0, 5))
BOX = (10, 10, 20, 20)
FAR = (60, 60, 70, 70)
COORDINATES = st.integers(0, 12).map(float)
BOXES = st.lists(st.tuples(*[COORDINATES] * 4), max_size=4).map(lambda rows: np.array(rows).reshape(-1, 4))


def truth(*boxes: tuple[float, ...]) -> np.ndarray:
    """Boxes as (label, xmin, ymin, xmax, ymax)."""
    return np.array(boxes, float).reshape(-1, 5)


def said(*rows: tuple[float, ...]) -> np.ndarray:
    """Detections as (label, score, xmin, ymin, xmax, ymax)."""
    return np.array(rows, float).reshape(-1, 6)


def values(truths: list[np.ndarray], detections: list[np.ndarray], classes: int = 1) -> list[float]:
    return [ap.voc07(matches) for matches in ap.match(truths, detections, classes)]


def test_every_box_found_and_nothing_else_is_one() -> None:
    truths = [truth((0, *BOX), (0, *FAR)), truth((0, *BOX))]
    detections = [said((0, 0.9, *BOX), (0, 0.2, *FAR)), said((0, 0.5, *BOX))]
    assert values(truths, detections) == [pytest.approx(1.0)]


def test_no_detections_at_all_are_zero() -> None:
    assert values([truth((0, *BOX))], [NONE]) == [0.0]
    assert ap.mean(ap.match([truth((0, *BOX))], [NONE], 1)) == 0.0


def test_a_second_detection_of_a_box_is_false() -> None:
    # By score: hit, duplicate, hit. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    # Levels 0 to 0.5: 1, six of them; levels 0.6 to 1: 2/3, five of them.
    detections = [said((0, 0.9, *BOX), (0, 0.8, 11, 10, 20, 20), (0, 0.7, *FAR))]
    assert values([truth((0, *BOX), (0, *FAR))], detections) == [pytest.approx((6 + 5 * 2 / 3) / 11)]


def test_of_two_detections_of_a_box_the_surer_one_is_the_hit_even_if_it_fits_worse() -> None:
    (matches,) = ap.match([truth((0, *BOX))], [said((0, 0.6, *BOX), (0, 0.9, 10, 10, 20, 18))], 1)
    assert matches.scores.tolist() == [0.9, 0.6]
    assert matches.hits.tolist() == [True, False]


def test_a_detection_belongs_to_the_box_it_overlaps_most_even_if_another_is_still_free() -> None:
    # Both detections overlap the first box most; the second one would also fit the other box.
    truths = [truth((0, 0, 0, 10, 10), (0, 3, 0, 13, 10))]
    (matches,) = ap.match(truths, [said((0, 0.9, 0, 0, 10, 10), (0, 0.8, 1, 0, 11, 10))], 1)
    assert matches.hits.tolist() == [True, False]


def test_a_class_without_true_boxes_is_left_out_of_the_mean() -> None:
    truths = [truth((0, *BOX), (2, *FAR))]
    matches = ap.match(truths, [said((0, 0.9, *BOX), (1, 0.99, *FAR))], 3)
    first, second, third = map(ap.voc07, matches)
    assert (first, third) == (pytest.approx(1.0), 0.0)
    assert math.isnan(second)
    assert ap.mean(matches) == pytest.approx(0.5)


def test_without_any_true_box_there_is_no_mean() -> None:
    assert math.isnan(ap.mean(ap.match([EMPTY], [said((0, 0.9, *BOX))], 1)))


def test_a_box_of_another_class_or_on_another_photo_is_not_found() -> None:
    truths = [truth((0, *BOX)), truth((1, *BOX))]
    assert values(truths, [said((1, 0.9, *BOX)), said((0, 0.9, *BOX))], 2) == [0.0, 0.0]


def test_a_false_detection_counts_against_those_below_it_alone() -> None:
    # Hit, false on a photo without boxes, hit: precision 1, 1/2, 2/3, as in the case of the duplicate.
    truths = [truth((0, *BOX), (0, *FAR)), EMPTY]
    detections = [said((0, 0.9, *BOX), (0, 0.1, *FAR)), said((0, 0.5, *BOX))]
    assert values(truths, detections) == [pytest.approx((6 + 5 * 2 / 3) / 11)]


def test_levels_of_recall_are_reached_in_whole_numbers() -> None:
    # 3 of 10 boxes found, nothing false: levels 0, 0.1, 0.2 and 0.3, though 3 * 0.1 is a little more than 0.3.
    boxes = [(0, 30 * number, 0, 30 * number + 20, 20) for number in range(10)]
    detections = said(*[(0, 0.9, *box[1:]) for box in boxes[:3]])
    assert values([truth(*boxes)], [detections]) == [pytest.approx(4 / 11)]


def test_an_overlap_of_exactly_one_half_is_enough_and_less_is_not() -> None:
    assert values([truth((0, 0, 0, 10, 10))], [said((0, 0.9, 0, 0, 10, 5))]) == [pytest.approx(1.0)]
    assert values([truth((0, 0, 0, 10, 10))], [said((0, 0.9, 0, 0, 10, 4.99))]) == [0.0]


def test_boxes_are_continuous_unlike_in_the_program_of_voc() -> None:
    # 10 x 10 and the same 3.5 further: 65 / 135 is below one half; counting pixels, 82.5 / 159.5 would be above.
    assert values([truth((0, 0, 0, 10, 10))], [said((0, 0.9, 3.5, 0, 13.5, 10))]) == [0.0]


@given(st.lists(st.tuples(BOXES, BOXES), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_each_box_is_hit_once_at_most_and_the_order_within_a_photo_does_not_matter(
    photos: list[tuple[np.ndarray, np.ndarray]], random: st.DataObject
) -> None:
    truths = [np.pad(boxes, ((0, 0), (1, 0))) for boxes, _ in photos]
    scores = iter(random.sample(range(100), sum(len(rows) for _, rows in photos)))
    detections = [np.array([(0, next(scores), *row) for row in rows]).reshape(-1, 6) for _, rows in photos]
    (matches,) = ap.match(truths, detections, 1)
    assert matches.hits.sum() <= matches.total
    assert (np.diff(matches.scores) <= 0).all()
    (again,) = ap.match(truths, [rows[::-1] for rows in detections], 1)
    assert again.hits.tolist() == matches.hits.tolist()
