"""Augmentations of image-classification, on pictures with known results."""

import numpy as np
import pytest

from train.image_classification.augment import TYPES, augment

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_without_augmentation_the_centre_is_cropped() -> None:
    crop = augment(PHOTO, 32, 32, None, np.random.default_rng(0))
    assert np.array_equal(crop, PHOTO[4:36, 14:46])


def test_crop_takes_random_windows_of_the_photo_with_random_flips() -> None:
    windows = {
        PHOTO[top : top + 32, left : left + 32][:, ::step].tobytes(): (top, left, step)
        for top in range(9)
        for left in range(29)
        for step in (1, -1)
    }
    crops = [augment(PHOTO, 32, 32, "crop", np.random.default_rng(seed)) for seed in range(40)]
    places = {windows[np.ascontiguousarray(crop).tobytes()] for crop in crops}  # KeyError if a crop is not a window
    assert len(places) > 20
    assert {step for _, _, step in places} == {1, -1}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", TYPES)
def test_a_uniform_photo_stays_uniform_and_only_colour_types_change_its_colour(kind: str, channels: int) -> None:
    flat = np.full((40, 40, channels), 100, np.uint8)
    crops = [augment(flat, 32, 32, kind, np.random.default_rng(seed)) for seed in range(200)]
    assert all(crop.shape == (32, 32, channels) and crop.dtype == np.uint8 for crop in crops)
    assert all((crop == crop[0, 0]).all() for crop in crops), "pixels were added from outside the photo"
    values = {int(crop[0, 0, 0]) for crop in crops}
    if kind == "crop":
        assert values == {100}
    else:
        assert (min(values) < 60, max(values) > 140) == (True, True)


def test_lightness_changes_by_up_to_50() -> None:
    white = np.full((40, 40, 1), 255, np.uint8)
    crops = [augment(white, 32, 32, "crop_color", np.random.default_rng(seed)) for seed in range(300)]
    assert min(crop.min() for crop in crops) == 255 - 50


def test_transform_tilts_a_vertical_edge_within_its_rotation_and_shear_limits() -> None:
    edge = np.zeros((101, 101, 1), np.uint8)
    edge[:, 50:] = 200
    leans = []
    for seed in range(200):
        crop = augment(edge, 81, 81, "crop_color_transform", np.random.default_rng(seed))[..., 0].astype(float)
        threshold = (crop.min() + crop.max()) / 2
        top, bottom = ((row > threshold).mean() * 81 for row in (crop[10], crop[70]))
        leans.append(abs(top - bottom) / 60)
    # 10 degrees and a shear of 0.1, stretched by aspect ratios of 0.75 and 1.25, plus 0.05 for rounding to pixels.
    assert max(leans) <= np.tan(np.deg2rad(10)) * 1.34 + 0.1 * 1.34 + 0.05
    assert np.median(leans) > 0.03


def test_the_same_seed_gives_the_same_crop() -> None:
    crops = [augment(PHOTO, 32, 32, "crop_color_transform", np.random.default_rng(9)) for _ in range(2)]
    assert np.array_equal(*crops)
