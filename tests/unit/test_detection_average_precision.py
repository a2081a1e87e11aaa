"""Average precision at 11 levels of recall, on cases calculated by hand."""

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
    """Return boxes as (label, xmin, ymin, xmax, ymax)."""
    return np.array(boxes, float).reshape(-1, 5)


def detected(*rows: tuple[float, ...]) -> np.ndarray:
    """Return detections as (label, score, xmin, ymin, xmax, ymax)."""
    return np.array(rows, float).reshape(-1, 6)


def values(truths: list[np.ndarray], detections: list[np.ndarray], classes: int = 1) -> list[float]:
    return [ap.voc07(matches) for matches in ap.match(truths, detections, classes)]


def test_perfect_detections_give_one() -> None:
    truths = [truth((0, *BOX), (0, *FAR)), truth((0, *BOX))]
    detections = [detected((0, 0.9, *BOX), (0, 0.2, *FAR)), detected((0, 0.5, *BOX))]
    assert values(truths, detections) == [pytest.approx(1.0)]


def test_no_detections_give_zero() -> None:
    assert values([truth((0, *BOX))], [NONE]) == [0.0]
    assert ap.mean(ap.match([truth((0, *BOX))], [NONE], 1)) == 0.0


def test_a_second_detection_of_a_box_is_a_false_positive() -> None:
    # By score: hit, duplicate, hit. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    # The six levels from 0 to 0.5 have precision 1, the five levels from 0.6 to 1 have 2/3.
    detections = [detected((0, 0.9, *BOX), (0, 0.8, 11, 10, 20, 20), (0, 0.7, *FAR))]
    assert values([truth((0, *BOX), (0, *FAR))], detections) == [pytest.approx((6 + 5 * 2 / 3) / 11)]


def test_the_detection_with_the_higher_score_is_the_hit_even_if_it_overlaps_less() -> None:
    (matches,) = ap.match([truth((0, *BOX))], [detected((0, 0.6, *BOX), (0, 0.9, 10, 10, 20, 18))], 1)
    assert matches.scores.tolist() == [0.9, 0.6]
    assert matches.hits.tolist() == [True, False]


def test_a_detection_matches_the_box_with_the_largest_overlap_even_if_another_is_free() -> None:
    # Both detections overlap the first box most. The second one would also match the other box.
    truths = [truth((0, 0, 0, 10, 10), (0, 3, 0, 13, 10))]
    (matches,) = ap.match(truths, [detected((0, 0.9, 0, 0, 10, 10), (0, 0.8, 1, 0, 11, 10))], 1)
    assert matches.hits.tolist() == [True, False]


def test_a_class_without_true_boxes_is_not_in_the_mean() -> None:
    truths = [truth((0, *BOX), (2, *FAR))]
    matches = ap.match(truths, [detected((0, 0.9, *BOX), (1, 0.99, *FAR))], 3)
    first, second, third = map(ap.voc07, matches)
    assert (first, third) == (pytest.approx(1.0), 0.0)
    assert math.isnan(second)
    assert ap.mean(matches) == pytest.approx(0.5)


def test_the_mean_is_nan_without_true_boxes() -> None:
    assert math.isnan(ap.mean(ap.match([EMPTY], [detected((0, 0.9, *BOX))], 1)))


def test_a_detection_does_not_match_another_class_or_photo() -> None:
    truths = [truth((0, *BOX)), truth((1, *BOX))]
    assert values(truths, [detected((1, 0.9, *BOX)), detected((0, 0.9, *BOX))], 2) == [0.0, 0.0]


def test_a_false_positive_affects_only_lower_scores() -> None:
    # Hit, false positive on a photo without boxes, hit: precision 1, 1/2, 2/3, as with the duplicate.
    truths = [truth((0, *BOX), (0, *FAR)), EMPTY]
    detections = [detected((0, 0.9, *BOX), (0, 0.1, *FAR)), detected((0, 0.5, *BOX))]
    assert values(truths, detections) == [pytest.approx((6 + 5 * 2 / 3) / 11)]


def test_recall_levels_are_compared_as_integers() -> None:
    # 3 of 10 boxes without false positives reach the levels 0 to 0.3, although 3 * 0.1 is slightly more than 0.3.
    boxes = [(0, 30 * number, 0, 30 * number + 20, 20) for number in range(10)]
    detections = detected(*[(0, 0.9, *box[1:]) for box in boxes[:3]])
    assert values([truth(*boxes)], [detections]) == [pytest.approx(4 / 11)]


def test_the_minimum_overlap_is_exactly_one_half() -> None:
    assert values([truth((0, 0, 0, 10, 10))], [detected((0, 0.9, 0, 0, 10, 5))]) == [pytest.approx(1.0)]
    assert values([truth((0, 0, 0, 10, 10))], [detected((0, 0.9, 0, 0, 10, 4.99))]) == [0.0]


def test_overlaps_use_continuous_coordinates_unlike_vocs_program() -> None:
    # A box of 10 x 10 shifted by 3.5: 65 / 135 is below one half. Counting pixels, 82.5 / 159.5 would be above.
    assert values([truth((0, 0, 0, 10, 10))], [detected((0, 0.9, 3.5, 0, 13.5, 10))]) == [0.0]


@given(st.lists(st.tuples(BOXES, BOXES), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_each_box_is_hit_at_most_once_and_the_order_within_a_photo_does_not_matter(
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
