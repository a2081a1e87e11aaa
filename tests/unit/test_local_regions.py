"""Polygons and run lengths as pixels, checked against pycocotools, COCO's own code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from local.datasets.masks.regions import Region, polygon, rectangle, run_lengths, runs, union

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
COORDINATES = st.floats(-1e6, 1e6) | st.floats(-3, 15) | st.integers(-3, 15).map(float)


def to_mask(region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a region as bool (H, W), and check its area."""
    mask = np.zeros(size[::-1], np.uint8)
    region.paint(mask, 1)
    assert region.area == mask.sum()
    return mask > 0


def inside(corners: list[tuple[float, float]], x: float, y: float) -> bool:
    """Return whether an odd number of edges crosses the ray to the right of a point: the even-odd rule."""
    odd = False
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 <= y) != (y2 <= y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) > x:
            odd = not odd
    return odd


def test_a_rectangle_covers_the_pixels_of_its_box() -> None:
    mask = to_mask(rectangle(10, 5, 30, 20, (64, 48)), (64, 48))
    assert mask[5:20, 10:30].all()
    assert mask.sum() == 20 * 15


@given(st.lists(st.tuples(COORDINATES, COORDINATES), max_size=7), SIZES)
def test_a_polygon_covers_the_pixels_whose_centre_is_inside_by_the_even_odd_rule(
    corners: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    mask = to_mask(polygon(np.array(corners, np.float64).reshape(-1, 2), size), size)
    for (row, column), is_inside in np.ndenumerate(mask):
        # A centre on an edge, up to rounding, may count as inside or outside.
        expected = {inside(corners, column + 0.5 + shift, row + 0.5) for shift in (-1e-6, 1e-6)}
        assert bool(is_inside) in expected


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # from pycocotools
def test_polygons_match_pycocotools_except_at_some_pixels_of_the_outline() -> None:
    generator, size = np.random.default_rng(0), (200, 150)
    differ = area = 0
    for _ in range(50):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 12))
        radii = generator.uniform(20, 90, 12)
        corners = np.stack([100 + radii * np.cos(angles), 75 + radii * np.sin(angles)], axis=1)
        official = coco.decode(coco.merge(coco.frPyObjects([corners.ravel().tolist()], *size[::-1]))) > 0
        differ += np.count_nonzero(to_mask(polygon(corners, size), size) != official)
        area += np.count_nonzero(official)
    assert differ / area < 0.01


@given(arrays(np.bool_, SIZES))
def test_run_lengths_in_both_formats_match_the_mask_that_pycocotools_encoded(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    text = coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    counts = run_lengths(text)
    assert np.array_equal(to_mask(runs(counts, (width, height)), (width, height)), mask)
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    plain = np.diff([0, *([0] if flat[0] else []), *ends, len(flat)])
    assert counts.tolist() == plain.tolist()


@given(st.text(max_size=20) | st.text("0123456789ol`~OPQ", max_size=20), SIZES)
def test_any_text_is_valid_run_lengths_or_rejected(text: str, size: tuple[int, int]) -> None:
    try:
        region = runs(run_lengths(text), size)
    except ValueError:
        return
    assert to_mask(region, size).shape == size[::-1]


@pytest.mark.parametrize("counts", [[5], [13], [-1, 13], [2**62, 2**62, 2**62, 2**62, 12], []])
def test_run_lengths_of_the_wrong_number_of_pixels_are_rejected(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="do not add up to 4 x 3 pixels"):
        runs(np.array(counts, np.int64), (4, 3))


def test_a_union_has_the_pixels_of_both_regions() -> None:
    size = (20, 20)
    first, second = rectangle(1, 2, 5, 9, size), rectangle(4, 4, 15, 18, size)
    assert np.array_equal(to_mask(union([first, second]), size), to_mask(first, size) | to_mask(second, size))


def test_a_polygon_with_too_many_corners_is_rejected_before_it_uses_memory() -> None:
    corners = np.tile([[0.0, 0.0], [1.0, 10_000.0]], (10_000, 1))
    with pytest.raises(ValueError, match="has 20000 corners"):
        polygon(corners, (10_000, 10_000))
