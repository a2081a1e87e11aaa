"""Augmentation of semantic-segmentation: masks match their photos, and sizes and colours change as documented."""

import numpy as np
import pytest
from PIL import Image

from tests.mxnet.segmentation import away_from_edges, patches, photo_of
from train.semantic_segmentation.augment import _colour, augment, resize
from train.semantic_segmentation.masks import IGNORE

IMAGENETS_MEAN = (124, 116, 104)
LUMINANCE = np.array([0.299, 0.587, 0.114])


def test_a_mask_matches_its_photo_after_augmentation() -> None:
    wrong = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        width, height = (int(side) for side in rng.integers(40, 500, 2))
        mask = patches(rng, width, height, classes=2)
        augmented, labels = augment(photo_of(mask), mask, 150, 120, rng)
        where = away_from_edges(labels)  # interpolation blurs the edges
        if set(np.unique(labels[where])) != {0, 1}:
            continue
        dark, light = (np.median(augmented[where & (labels == label)]) for label in (0, 1))
        wrong.append(((augmented[..., 0] > (dark + light) / 2) != labels)[where].mean())
    assert len(wrong) > 100
    assert np.mean(wrong) < 0.001


def test_augmented_pairs_are_padded_right_and_below_and_depend_only_on_the_seed() -> None:
    strips = [(1, 3000), (2500, 1), (1, 1)]
    for seed, (height, width) in enumerate([*strips, *np.random.default_rng(0).integers(1, 300, (397, 2))]):
        rng = np.random.default_rng(seed)
        base, crop = int(rng.integers(17, 200)), 8 * int(rng.integers(3, 30))
        photo = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        mask = rng.integers(0, 5, (height, width)).astype(np.uint8)
        augmented, labels = augment(photo, mask, base, crop, np.random.default_rng(seed))
        assert (augmented.shape, labels.shape) == ((crop, crop, 3), (crop, crop)), seed
        assert (augmented.dtype, labels.dtype) == (np.uint8, np.uint8), seed
        inside = labels != IGNORE
        high, wide = inside.any(axis=1).sum(), inside.any(axis=0).sum()
        assert inside[:high, :wide].all(), "the padding must be right and below"
        assert inside.sum() == high * wide, seed
        assert (augmented[~inside] == IMAGENETS_MEAN).all(), seed
        assert set(np.unique(labels)) <= {*np.unique(mask).tolist(), IGNORE}, seed
        again = augment(photo, mask, base, crop, np.random.default_rng(seed))
        assert np.array_equal(augmented, again[0]), seed
        assert np.array_equal(labels, again[1]), seed


def test_photos_are_scaled_to_half_to_twice_base_size_and_flipped_with_probability_one_half() -> None:
    mask = np.zeros((60, 90), np.uint8)
    mask[:, 45:] = 1
    widths, flipped = [], []
    for seed in range(2000):
        # The crop is larger than twice the base size, so it contains the whole photo.
        _, labels = augment(np.zeros((60, 90, 3), np.uint8), mask, 100, 208, np.random.default_rng(seed))
        widths.append(int((labels[0] != IGNORE).sum()))
        flipped.append(labels[0, 0] == 1)
    assert (min(widths), max(widths)) == (50, 200)
    assert np.mean(widths) == pytest.approx(125, abs=5)
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("width", "height"), [(40, 30), (73, 55), (200, 150), (460, 345)])
def test_resizing_a_part_of_a_photo_matches_resizing_the_whole(width: int, height: int) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    whole = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))
    for x, y in ((0, 0), (width - 20, height - 20), (11, 3)):
        columns = (x * 200 / width, (x + 20) * 200 / width, 20)
        rows = (y * 150 / height, (y + 20) * 150 / height, 20)
        part = resize(photo, columns, rows, Image.Resampling.BILINEAR)
        expected = whole[y : y + 20, x : x + 20].astype(int)
        np.testing.assert_allclose(part, expected, rtol=0, atol=1)  # rounding


def test_brightness_contrast_and_saturation_change_by_the_documented_factors() -> None:
    photo = np.random.default_rng(1).integers(60, 120, (40, 50, 3)).astype(np.uint8)
    mean = photo.reshape(-1, 3).mean(axis=0)
    factors = []
    for seed in range(3000):
        matrix = _colour(photo, np.random.default_rng(seed))
        after = LUMINANCE @ (matrix @ [*mean, 1])
        brightness = after / (LUMINANCE @ mean)
        slope = LUMINANCE @ matrix[:, :3] @ [1, 1, 1]
        tint = matrix[:, :3] @ [1, 0, 0]
        factors.append([brightness, slope / brightness, (tint[0] - tint[1]) / slope])
        # Contrast changes around the photo's mean luminance, so a grey pixel of that luminance changes like the mean.
        assert matrix[0] @ [*[LUMINANCE @ mean] * 3, 1] == pytest.approx(after, abs=1e-3)
    assert np.min(factors, axis=0) == pytest.approx([0.6] * 3, rel=0.01)
    assert np.max(factors, axis=0) == pytest.approx([1.4] * 3, rel=0.01)
