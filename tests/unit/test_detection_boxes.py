"""Boxes, windows and targets: closed-form cases, and what holds for all."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from train.object_detection import boxes, targets, windows
from train.object_detection.windows import Span, Window

SHARES = st.floats(0, 1, width=32)


@st.composite
def drawn_boxes(draw: st.DrawFn, least: int = 0) -> np.ndarray:
    """Boxes float32 (n, 5) of positive area, in fractions."""
    rows = []
    for _ in range(draw(st.integers(least, 5))):
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
def test_flipping_twice_is_the_identity_and_keeps_area_and_order(found: np.ndarray) -> None:
    once = boxes.flip(found)
    assert boxes.flip(once) == pytest.approx(found, abs=2e-7)
    assert boxes.area(once[:, 1:]) == pytest.approx(boxes.area(found[:, 1:]), abs=2e-7)
    assert (once[:, 3:] >= once[:, 1:3]).all()


def test_a_flip_mirrors_left_and_right_alone() -> None:
    assert boxes.flip(np.array([[3, 0.125, 0.25, 0.5, 0.75]])).tolist() == [[3, 0.5, 0.25, 0.875, 0.75]]


UNDOES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


@pytest.mark.parametrize(("orientation", "back"), UNDOES.items())
def test_a_turn_is_undone_by_its_opposite(orientation: int, back: int) -> None:
    found = np.array([[1, 0.125, 0.25, 0.5, 0.875]])
    turned = boxes.to_upright(found, orientation)
    assert boxes.to_upright(turned, back).tolist() == found.tolist()
    assert (turned.tolist() == found.tolist()) == (orientation == 1)


# ---- windows ----------------------------------------------------------------------------------------------------


def visible(width: int, height: int, found: np.ndarray, side: int, seed: int) -> tuple[Window, Span, Span, np.ndarray]:
    """What one draw of the window gives for a photo."""
    pixels = found * np.array([1.0, width, height, width, height])
    window = windows.choose(width, height, pixels[:, 1:], np.random.default_rng(seed))
    columns, rows = windows.fit(window, width, height, side)
    return window, columns, rows, windows.visible_boxes(pixels, window, columns, rows, side)


@given(SIDES, SIDES, drawn_boxes(), st.integers(1, 600), SEEDS)
def test_boxes_after_a_window_lie_in_the_input_with_a_positive_area(
    width: int, height: int, found: np.ndarray, side: int, seed: int
) -> None:
    kept = visible(width, height, found, side, seed)[-1]
    assert kept.dtype == np.float32
    assert ((kept[:, 1:] >= 0) & (kept[:, 1:] <= 1)).all()
    assert (kept[:, 3:] > kept[:, 1:3]).all()
    assert len(kept) <= len(found)


@given(SIDES, SIDES, drawn_boxes(), st.integers(1, 600), SEEDS)
def test_a_window_shows_some_of_the_photo_and_fills_some_of_the_input(
    width: int, height: int, found: np.ndarray, side: int, seed: int
) -> None:
    _, columns, rows, _ = visible(width, height, found, side, seed)
    for span, length in ((columns, width), (rows, height)):
        assert 0 <= span.begin < span.end <= length
        assert 0 <= span.to_begin < span.to_end <= side


@given(st.integers(20, 800), st.integers(20, 800), drawn_boxes(least=1), SEEDS)
def test_a_window_keeps_a_box_at_least(width: int, height: int, found: np.ndarray, seed: int) -> None:
    assume((found[:, 3:] - found[:, 1:3] > 0.01).all())
    assert len(visible(width, height, found, 300, seed)[-1]) >= 1


def draws(found: np.ndarray, count: int = 3000) -> list[tuple[Window, Span, Span, np.ndarray]]:
    return [visible(400, 300, found, 300, seed) for seed in range(count)]


def test_windows_reach_from_three_tenths_of_a_photo_to_four_times_it_and_no_further() -> None:
    found = draws(np.array([[0, 0.1, 0.1, 0.9, 0.9]], np.float32))
    wide = np.array([window.width / 400 for window, *_ in found])
    high = np.array([window.height / 300 for window, *_ in found])
    assert 0.3 * np.sqrt(0.5) - 0.01 <= min(wide.min(), high.min()) < 0.26
    assert 3.5 < max(wide.max(), high.max()) <= 4
    aspect = wide / high
    assert 0.49 < aspect.min() < 0.6
    assert 1.6 < aspect.max() < 2.05


def test_half_of_the_photos_are_not_expanded_and_one_in_seven_of_those_not_cropped() -> None:
    found = draws(np.array([[0, 0, 0, 1, 1]], np.float32))  # a box for which every choice can be met
    inside = [w.left >= 0 and w.top >= 0 and w.left + w.width <= 400 and w.top + w.height <= 300 for w, *_ in found]
    whole = [w == Window(0, 0, 400, 300) for w, *_ in found]
    assert 0.5 <= np.mean(inside) < 0.8  # a crop of an expanded photo may lie inside of the photo
    assert np.mean(whole) == pytest.approx(0.5 / 7, abs=0.02)


def test_a_box_whose_centre_is_outside_of_the_window_goes_and_one_inside_is_cut_at_its_edge() -> None:
    pixels = np.array([[0, 0, 0, 110, 100], [1, 0, 0, 90, 100], [2, 140, 20, 180, 60]], float)
    window = Window(50, 0, 100, 100)
    columns, rows = windows.fit(window, 200, 100, 100)
    assert windows.visible_boxes(pixels, window, columns, rows, 100).tolist() == [[0, 0, 0, np.float32(0.6), 1]]


def test_a_photo_on_a_canvas_fills_its_part_of_the_input_and_takes_its_boxes_along() -> None:
    window = Window(-100, -50, 400, 200)
    columns, rows = windows.fit(window, 200, 100, 100)
    assert (columns, rows) == (Span(0, 200, 25, 75), Span(0, 100, 25, 75))
    found = windows.visible_boxes(np.array([[4, 0, 0, 100, 100]], float), window, columns, rows, 100)
    assert found.tolist() == [[4, 0.25, 0.25, 0.5, 0.75]]


def test_the_least_overlap_is_met_by_one_box_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_MIN_OVERLAPS", (0.5,))
    monkeypatch.setattr(windows, "_EXPAND_PROBABILITY", 0.0)
    found = np.array([[0, 0.1, 0.1, 0.6, 0.8], [0, 0.7, 0.7, 0.8, 0.8]], np.float32)
    cropped = [w for w, *_ in draws(found, 400) if w != Window(0, 0, 400, 300)]
    assert 150 < len(cropped) < 250
    corners = np.array([[w.left, w.top, w.left + w.width, w.top + w.height] for w in cropped], float)
    assert boxes.overlaps(corners, found[:, 1:] * np.array([400, 300, 400, 300])).max(axis=1).min() >= 0.5


def test_photos_without_boxes_are_cropped_and_expanded_too() -> None:
    found = draws(np.zeros((0, 5), np.float32), 200)
    assert all(kept.shape == (0, 5) for *_, kept in found)
    assert len({window for window, *_ in found}) > 150


# ---- targets ----------------------------------------------------------------------------------------------------

GRID = np.array([[(x + 0.5) / 4, (y + 0.5) / 4, 0.25, 0.25] for y in range(4) for x in range(4)], np.float32)


def matched(anchors: np.ndarray, rows: list[list[float]]) -> dict[int, float]:
    """Classes by anchor, of the anchors that are not background."""
    classes, offsets = targets.assign(anchors, np.array(rows, np.float32).reshape(-1, 5))
    assert (classes.dtype, offsets.dtype) == (np.float32, np.float32)
    assert (offsets[classes == 0] == 0).all()
    return {int(i): float(classes[i]) for i in np.flatnonzero(classes)}


def test_without_boxes_every_anchor_is_background() -> None:
    assert matched(GRID, []) == {}


def test_a_box_that_is_an_anchor_has_its_class_plus_one_and_offsets_of_zero() -> None:
    assert matched(GRID, [[2, 0.25, 0, 0.5, 0.25]]) == {1: 3}
    assert targets.assign(GRID, np.array([[2, 0.25, 0, 0.5, 0.25]], np.float32))[1][1] == pytest.approx(np.zeros(4))


def test_a_box_far_smaller_than_all_anchors_still_has_one() -> None:
    assert matched(GRID, [[0, 0.01, 0.01, 0.02, 0.02]]) == {0: 1}


def test_an_overlap_of_one_half_is_enough_and_less_is_not() -> None:
    half = [0, 0, 0, 0.25, 0.125]
    assert matched(GRID, [[0, 0, 0, 0.25, 0.25], half]) == {0: 1}  # the whole one takes the only anchor both touch
    anchors = np.array([[0.5, 0.5, 1, 1], [0.5, 0.25, 1, 0.5], [0.5, 0.2, 1, 0.4]], np.float32)
    assert matched(anchors, [[0, 0, 0, 1, 1]]) == {0: 1, 1: 1}


def test_two_boxes_that_want_one_anchor_get_one_each_the_nearer_first() -> None:
    anchors = np.array([[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.8, 0.8]], np.float32)
    near, less_near = [0, 0.3, 0.3, 0.7, 0.7], [1, 0.3, 0.3, 0.7, 0.65]
    assert matched(anchors, [near, less_near]) == {0: 1, 1: 2}
    assert matched(anchors, [less_near, near]) == {0: 1, 1: 2}


def test_anchors_that_overlap_a_box_equally_are_both_matched() -> None:
    anchors = np.array([[0.25, 0.5, 0.5, 0.25], [0.75, 0.5, 0.5, 0.25], [0.5, 0.1, 0.1, 0.1]], np.float32)
    assert matched(anchors, [[5, 0.375, 0.375, 0.625, 0.625]]) == {0: 6, 1: 6}


def test_offsets_are_encoded_with_the_papers_variances() -> None:
    anchors = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)
    offsets = targets.encode(anchors, np.array([[0.5, 0.4, 0.7, 0.6]], np.float32))
    assert offsets[0] == pytest.approx([0.1 / 0.2 / 0.1, 0, 0, np.log(0.5) / 0.2], abs=1e-5)
    assert offsets.dtype == np.float32


@given(drawn_boxes(), st.integers(1, 40), SEEDS)
def test_targets_are_finite_and_every_box_that_an_anchor_touches_is_matched(
    found: np.ndarray, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    anchors = rng.uniform(0.02, 1, (count, 4)).astype(np.float32)
    found = found.copy()
    found[:, 0] = np.arange(len(found))  # so that each box can be told by its class
    classes, offsets = targets.assign(anchors, found)
    assert np.isfinite(offsets).all()
    half = anchors[:, 2:] / 2
    overlap = boxes.overlaps(found[:, 1:], np.hstack([anchors[:, :2] - half, anchors[:, :2] + half]))
    if count >= len(found) and (overlap > 0).all():
        assert set(range(1, len(found) + 1)) <= set(classes.astype(int).tolist())
    for anchor in np.flatnonzero(overlap.max(axis=0, initial=0) >= targets.MATCHED):
        assert classes[anchor] > 0


def brute_force(overlap: np.ndarray) -> list[int]:
    """Matching as its definition reads, without any care for time."""
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
def test_matching_is_that_of_its_definition(count: int, anchors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    overlap = np.maximum(rng.uniform(-0.3, 1, (count, anchors)), 0).astype(np.float32)
    got: Any = targets._match(overlap.copy())
    assert got.tolist() == brute_force(overlap)


def test_small_inputs_expand_less_so_that_no_object_gets_fewer_pixels_than_at_300() -> None:
    assert [windows.max_expansion(side) for side in (64, 150, 300, 512)] == [1.0, 2.0, 4.0, 4.0]
    widest = max(windows.choose(100, 80, np.zeros((0, 4)), np.random.default_rng(i), 2.0).width for i in range(300))
    assert 180 < widest <= 200
