"""SSD's augmentation: boxes stay on their object, and colours change as much as in the paper's code."""

import cv2
import numpy as np
import pytest

from tests.mxnet.detection import drawn_boxes
from train.object_detection.augment import _colour, augment

SIDE = 300
YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
PINK = np.array([1.0, 0.2, 0.2])


def painted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a dark photo with one light rectangle, and the rectangle's box (1, 5)."""
    height, width = rng.integers(120, 500, 2)
    x0, y0 = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
    x1, y1 = x0 + int(rng.integers(30, width // 2)), y0 + int(rng.integers(30, height // 2))
    photo = np.zeros((height, width, 3), np.uint8)
    photo[y0:y1, x0:x1] = 255
    return photo, np.array([[2, x0 / width, y0 / height, x1 / width, y1 / height]], np.float32)


def light(photo: np.ndarray) -> list[int] | None:
    """Return the light rectangle's xmin, ymin, xmax, ymax in pixels, or None if nothing dark remains around it.

    Colour changes keep grey pixels grey, and the fill colour is not grey.
    """
    red, green, blue = cv2.split(photo)
    # Rounding changes the channels by less than 5, and the fill's channels differ by 20.
    grey = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue) < 5
    darkest, lightest = int(red[grey].min()), int(red[grey].max())
    if lightest - darkest < 60:
        return None
    inside = grey & (red > (lightest + darkest) / 2)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_boxes_stay_on_their_object_and_photos_are_flipped_with_probability_one_half() -> None:
    seen, left_half = 0, 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        photo, box = painted(rng)
        augmented, boxes = augment(photo, box, SIDE, rng)
        assert (augmented.shape, augmented.dtype) == ((SIDE, SIDE, 3), np.uint8)
        assert boxes.shape == (1, 5), "the window must keep the only box"
        assert boxes[0, 0] == 2, "the class must not change"
        if (pixels := light(augmented)) is not None:
            # Interpolation blurs the edges, so allow 2 of 300 pixels.
            np.testing.assert_allclose(boxes[0, 1:] * SIDE, pixels, rtol=0, atol=2, err_msg=str(seed))
            seen += 1
            left_half += int(boxes[0, 1] + boxes[0, 3] < 1)
    assert seen > 500
    assert 0.4 < left_half / seen < 0.6


def test_augmented_boxes_are_inside_the_input_with_a_positive_area_and_depend_only_on_the_seed() -> None:
    for seed in range(800):
        rng = np.random.default_rng(seed)
        height, width, side = (int(value) for value in rng.integers(1, 400, 3))
        photo = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        boxes = drawn_boxes(rng, int(rng.integers(0, 6)))
        augmented, kept = augment(photo, boxes, side, np.random.default_rng(seed))
        assert (augmented.shape, augmented.dtype, kept.dtype) == ((side, side, 3), np.uint8, np.float32), seed
        assert ((kept[:, 1:] >= 0) & (kept[:, 1:] <= 1)).all(), seed
        assert (kept[:, 3:] > kept[:, 1:3]).all(), seed
        assert set(kept[:, 0]) <= set(boxes[:, 0]), seed
        again = augment(photo, boxes, side, np.random.default_rng(seed))
        assert np.array_equal(augmented, again[0]), seed
        assert np.array_equal(kept, again[1]), seed


@pytest.fixture(scope="module")
def matrices() -> np.ndarray:
    """Many random colour changes, (4000, 3, 4)."""
    return np.array([_colour(np.random.default_rng(seed)) for seed in range(4000)])


@pytest.fixture(scope="module")
def changes(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """The change of brightness (of 255), contrast and saturation (factors) and hue (degrees) in each matrix."""
    contrast = (matrices[:, :, :3] @ np.ones(3))[:, 0]
    before, after = YIQ @ PINK, matrices[:, :, :3] @ PINK / contrast[:, None] @ YIQ.T
    return {
        "contrast": contrast,
        "brightness": matrices[:, 0, 3] / contrast,
        "saturation": np.hypot(after[:, 1], after[:, 2]) / np.hypot(before[1], before[2]),
        "hue": np.degrees(np.arctan2(after[:, 2], after[:, 1]) - np.arctan2(before[2], before[1])),
    }


@pytest.mark.parametrize(
    ("name", "unchanged", "minimum", "maximum"),
    [("brightness", 0, -32, 32), ("contrast", 1, 0.5, 1.5), ("saturation", 1, 0.5, 1.5), ("hue", 0, -36, 36)],
)
def test_each_colour_change_has_ssds_range_and_probability_one_half(
    name: str, unchanged: float, minimum: float, maximum: float, changes: dict[str, np.ndarray]
) -> None:
    change = changes[name]
    assert [change.min(), change.max()] == pytest.approx([minimum, maximum], rel=0.01)
    assert np.mean(np.abs(change - unchanged) > 1e-6) == pytest.approx(0.5, abs=0.03)


def test_colour_changes_keep_grey_pixels_grey(matrices: np.ndarray) -> None:
    grey = matrices[:, :, :3] @ [100.0, 100.0, 100.0]
    assert np.ptp(grey, axis=1).max() < 0.5


def test_photos_are_expanded_with_imagenets_mean_without_a_colour_change() -> None:
    black, no_boxes = np.zeros((50, 50, 3), np.uint8), np.zeros((0, 5), np.float32)
    photos = [augment(black, no_boxes, SIDE, np.random.default_rng(seed))[0] for seed in range(40)]
    fills = {tuple(pixel.tolist()) for photo in photos for pixel in photo[0] if np.ptp(pixel) > 0}
    assert fills == {(124, 116, 104)}
