"""Boxes, windows and targets: exact cases and general properties."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from train.object_detection import boxes, targets, windows
from train.object_detection.windows import Span, Window

SHARES = st.floats(0, 1, width=32)


@st.composite
def drawn_boxes(draw: st.DrawFn, minimum: int = 0) -> np.ndarray:
    """Draw boxes with a positive area in fractions, float32 (n, 5)."""
    rows = []
    for _ in range(draw(st.integers(minimum, 5))):
        x0, x1 = sorted(draw(st.tuples(SHARES, SHARES)))
        y0, y1 = sorted(draw(st.tuples(SHARES, SHARES)))
        assume(x0 < x1 and y0 < y1)
        rows.append([draw(st.integers(0, 9)), x0, y0, x1, y1])
    return np.array(rows, np.float32).reshape(-1, 5)


SIDES = st.integers(1, 800)
SEEDS = st.integers(0, 2**32 - 1)


# ---- boxes ------------------------------------------------------------------------------------------------------


def test_overlap_is_intersection_over_union() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 0, 0]], float)
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [2, 0, 4, 2], [0, 0, 2, 1], [0, 0, 0, 0]], float)
    assert boxes.overlaps(a, b).tolist() == [[1 / 7, 1, 0, 0.5, 0], [0, 0, 0, 0, 0]]


@given(drawn_boxes())
def test_flipping_twice_is_the_identity_and_preserves_area_and_order(objects: np.ndarray) -> None:
    once = boxes.flip(objects)
    assert boxes.flip(once) == pytest.approx(objects, abs=2e-7)
    assert boxes.area(once[:, 1:]) == pytest.approx(boxes.area(objects[:, 1:]), abs=2e-7)
    assert (once[:, 3:] >= once[:, 1:3]).all()


def test_a_flip_mirrors_only_left_and_right() -> None:
    assert boxes.flip(np.array([[3, 0.125, 0.25, 0.5, 0.75]])).tolist() == [[3, 0.5, 0.25, 0.875, 0.75]]


INVERSES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


@pytest.mark.parametrize(("orientation", "inverse"), INVERSES.items())
def test_a_rotation_is_reversed_by_its_inverse(orientation: int, inverse: int) -> None:
    objects = np.array([[1, 0.125, 0.25, 0.5, 0.875]])
    turned = boxes.to_upright(objects, orientation)
    assert boxes.to_upright(turned, inverse).tolist() == objects.tolist()
    assert (turned.tolist() == objects.tolist()) == (orientation == 1)


# ---- windows ----------------------------------------------------------------------------------------------------


def visible(
    width: int, height: int, objects: np.ndarray, side: int, seed: int
) -> tuple[Window, Span, Span, np.ndarray]:
    """Draw a window for a photo, and return it with its spans and visible boxes."""
    pixels = objects * np.array([1.0, width, height, width, height])
    window = windows.choose(width, height, pixels[:, 1:], np.random.default_rng(seed))
    columns, rows = windows.fit(window, width, height, side)
    return window, columns, rows, windows.visible_boxes(pixels, window, columns, rows, side)


@given(SIDES, SIDES, drawn_boxes(), st.integers(1, 600), SEEDS)
def test_visible_boxes_are_inside_the_input_with_a_positive_area(
    width: int, height: int, objects: np.ndarray, side: int, seed: int
) -> None:
    kept = visible(width, height, objects, side, seed)[-1]
    assert kept.dtype == np.float32
    assert ((kept[:, 1:] >= 0) & (kept[:, 1:] <= 1)).all()
    assert (kept[:, 3:] > kept[:, 1:3]).all()
    assert len(kept) <= len(objects)


@given(SIDES, SIDES, drawn_boxes(), st.integers(1, 600), SEEDS)
def test_a_window_shows_part_of_the_photo_in_part_of_the_input(
    width: int, height: int, objects: np.ndarray, side: int, seed: int
) -> None:
    _, columns, rows, _ = visible(width, height, objects, side, seed)
    for span, length in ((columns, width), (rows, height)):
        assert 0 <= span.begin < span.end <= length
        assert 0 <= span.to_begin < span.to_end <= side


@given(st.integers(20, 800), st.integers(20, 800), drawn_boxes(minimum=1), SEEDS)
def test_a_window_keeps_at_least_one_box(width: int, height: int, objects: np.ndarray, seed: int) -> None:
    assume((objects[:, 3:] - objects[:, 1:3] > 0.01).all())
    assert len(visible(width, height, objects, 300, seed)[-1]) >= 1


def draws(objects: np.ndarray, count: int = 3000) -> list[tuple[Window, Span, Span, np.ndarray]]:
    return [visible(400, 300, objects, 300, seed) for seed in range(count)]


def test_windows_have_three_tenths_to_four_times_the_photos_size() -> None:
    samples = draws(np.array([[0, 0.1, 0.1, 0.9, 0.9]], np.float32))
    wide = np.array([window.width / 400 for window, *_ in samples])
    high = np.array([window.height / 300 for window, *_ in samples])
    assert 0.3 * np.sqrt(0.5) - 0.01 <= min(wide.min(), high.min()) < 0.26
    assert 3.5 < max(wide.max(), high.max()) <= 4
    aspect = wide / high
    assert 0.49 < aspect.min() < 0.6
    assert 1.6 < aspect.max() < 2.05


def test_half_of_the_photos_are_expanded_and_one_in_seven_of_the_others_is_not_cropped() -> None:
    samples = draws(np.array([[0, 0, 0, 1, 1]], np.float32))  # this box satisfies every choice
    inside = [w.left >= 0 and w.top >= 0 and w.left + w.width <= 400 and w.top + w.height <= 300 for w, *_ in samples]
    whole = [w == Window(0, 0, 400, 300) for w, *_ in samples]
    assert 0.5 <= np.mean(inside) < 0.8  # a crop of an expanded photo may be inside the photo
    assert np.mean(whole) == pytest.approx(0.5 / 7, abs=0.02)


def test_boxes_with_their_centre_outside_the_window_are_dropped_and_others_clipped() -> None:
    pixels = np.array([[0, 0, 0, 110, 100], [1, 0, 0, 90, 100], [2, 140, 20, 180, 60]], float)
    window = Window(50, 0, 100, 100)
    columns, rows = windows.fit(window, 200, 100, 100)
    assert windows.visible_boxes(pixels, window, columns, rows, 100).tolist() == [[0, 0, 0, np.float32(0.6), 1]]


def test_an_expanded_photo_and_its_boxes_fill_their_part_of_the_input() -> None:
    window = Window(-100, -50, 400, 200)
    columns, rows = windows.fit(window, 200, 100, 100)
    assert (columns, rows) == (Span(0, 200, 25, 75), Span(0, 100, 25, 75))
    visible = windows.visible_boxes(np.array([[4, 0, 0, 100, 100]], float), window, columns, rows, 100)
    assert visible.tolist() == [[4, 0.25, 0.25, 0.5, 0.75]]


def test_at_least_one_box_has_the_minimum_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_MIN_OVERLAPS", (0.5,))
    monkeypatch.setattr(windows, "_EXPAND_PROBABILITY", 0.0)
    objects = np.array([[0, 0.1, 0.1, 0.6, 0.8], [0, 0.7, 0.7, 0.8, 0.8]], np.float32)
    cropped = [w for w, *_ in draws(objects, 400) if w != Window(0, 0, 400, 300)]
    assert 150 < len(cropped) < 250
    corners = np.array([[w.left, w.top, w.left + w.width, w.top + w.height] for w in cropped], float)
    assert boxes.overlaps(corners, objects[:, 1:] * np.array([400, 300, 400, 300])).max(axis=1).min() >= 0.5


def test_photos_without_boxes_are_cropped_and_expanded_too() -> None:
    samples = draws(np.zeros((0, 5), np.float32), 200)
    assert all(kept.shape == (0, 5) for *_, kept in samples)
    assert len({window for window, *_ in samples}) > 150


# ---- targets ----------------------------------------------------------------------------------------------------

GRID = np.array([[(x + 0.5) / 4, (y + 0.5) / 4, 0.25, 0.25] for y in range(4) for x in range(4)], np.float32)


def matched(anchors: np.ndarray, rows: list[list[float]]) -> dict[int, float]:
    """Return the classes of the anchors that are not background, by anchor."""
    classes, offsets = targets.assign(anchors, np.array(rows, np.float32).reshape(-1, 5))
    assert (classes.dtype, offsets.dtype) == (np.float32, np.float32)
    assert (offsets[classes == 0] == 0).all()
    return {int(i): float(classes[i]) for i in np.flatnonzero(classes)}


def test_all_anchors_are_background_without_boxes() -> None:
    assert matched(GRID, []) == {}


def test_a_box_equal_to_an_anchor_gives_class_plus_one_and_zero_offsets() -> None:
    assert matched(GRID, [[2, 0.25, 0, 0.5, 0.25]]) == {1: 3}
    assert targets.assign(GRID, np.array([[2, 0.25, 0, 0.5, 0.25]], np.float32))[1][1] == pytest.approx(np.zeros(4))


def test_a_box_far_smaller_than_all_anchors_is_still_matched() -> None:
    assert matched(GRID, [[0, 0.01, 0.01, 0.02, 0.02]]) == {0: 1}


def test_the_minimum_overlap_is_exactly_one_half() -> None:
    half = [0, 0, 0, 0.25, 0.125]
    assert matched(GRID, [[0, 0, 0, 0.25, 0.25], half]) == {0: 1}  # the larger box takes the only common anchor
    anchors = np.array([[0.5, 0.5, 1, 1], [0.5, 0.25, 1, 0.5], [0.5, 0.2, 1, 0.4]], np.float32)
    assert matched(anchors, [[0, 0, 0, 1, 1]]) == {0: 1, 1: 1}


def test_two_boxes_with_the_same_best_anchor_get_one_each_and_the_closer_one_wins() -> None:
    anchors = np.array([[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.8, 0.8]], np.float32)
    near, less_near = [0, 0.3, 0.3, 0.7, 0.7], [1, 0.3, 0.3, 0.7, 0.65]
    assert matched(anchors, [near, less_near]) == {0: 1, 1: 2}
    assert matched(anchors, [less_near, near]) == {0: 1, 1: 2}


def test_anchors_with_equal_overlap_are_both_matched() -> None:
    anchors = np.array([[0.25, 0.5, 0.5, 0.25], [0.75, 0.5, 0.5, 0.25], [0.5, 0.1, 0.1, 0.1]], np.float32)
    assert matched(anchors, [[5, 0.375, 0.375, 0.625, 0.625]]) == {0: 6, 1: 6}


def test_offsets_are_encoded_with_the_papers_variances() -> None:
    anchors = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)
    offsets = targets.encode(anchors, np.array([[0.5, 0.4, 0.7, 0.6]], np.float32))
    assert offsets[0] == pytest.approx([0.1 / 0.2 / 0.1, 0, 0, np.log(0.5) / 0.2], abs=1e-5)
    assert offsets.dtype == np.float32


@given(drawn_boxes(), st.integers(1, 40), SEEDS)
def test_targets_are_finite_and_every_box_that_overlaps_an_anchor_is_matched(
    objects: np.ndarray, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    anchors = rng.uniform(0.02, 1, (count, 4)).astype(np.float32)
    objects = objects.copy()
    objects[:, 0] = np.arange(len(objects))  # makes each box identifiable by its class
    classes, offsets = targets.assign(anchors, objects)
    assert np.isfinite(offsets).all()
    half = anchors[:, 2:] / 2
    overlap = boxes.overlaps(objects[:, 1:], np.hstack([anchors[:, :2] - half, anchors[:, :2] + half]))
    if count >= len(objects) and (overlap > 0).all():
        assert set(range(1, len(objects) + 1)) <= set(classes.astype(int).tolist())
    for anchor in np.flatnonzero(overlap.max(axis=0, initial=0) >= targets.MATCHED):
        assert classes[anchor] > 0


def brute_force(overlap: np.ndarray) -> list[int]:
    """Match by the definition, without regard to speed."""
    free, match = overlap.copy(), [-1] * overlap.shape[1]
    while free.max(initial=0) > 0:
        box, anchor = np.unravel_index(free.argmax(), free.shape)
        match[anchor], free[box], free[:, anchor] = int(box), 0, 0
    for anchor in range(overlap.shape[1]):
        best = int(overlap[:, anchor].argmax())
        value = overlap[best, anchor]
        if match[anchor] < 0 and value > 0 and (value >= 0.5 or value >= overlap[best].max()):
            match[anchor] = best
    return match


@given(st.integers(1, 8), st.integers(1, 30), SEEDS)
def test_matching_follows_its_definition(count: int, anchors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    overlap = np.maximum(rng.uniform(-0.3, 1, (count, anchors)), 0).astype(np.float32)
    match: Any = targets._match(overlap.copy())
    assert match.tolist() == brute_force(overlap)


def test_small_inputs_are_expanded_less_to_keep_the_size_of_objects() -> None:
    assert [windows.max_expansion(side) for side in (64, 150, 300, 512)] == [1.0, 2.0, 4.0, 4.0]
    widest = max(windows.choose(100, 80, np.zeros((0, 4)), np.random.default_rng(i), 2.0).width for i in range(300))
    assert 180 < widest <= 200
