"""Augmentation of image-classification-tensorflow: flips, zooms and rotations about the centre."""

import numpy as np
import tensorflow as tf

from tests.tensorflow import small
from train.keras.augment import Augment


def augmented(photos: np.ndarray, flip: bool, zoom: float, degrees: float, seed: int = 0) -> np.ndarray:
    return Augment(flip, zoom, degrees)(tf.constant(photos), tf.constant([seed, 1])).numpy()


def test_photos_do_not_change_without_augmentation() -> None:
    photos = small.photos(64)
    assert np.array_equal(augmented(photos, False, 0, 0), photos)


def test_about_half_of_the_photos_are_mirrored() -> None:
    photos = small.photos(64)
    result = augmented(photos, True, 0, 0)
    same = (result == photos).all((1, 2, 3))
    mirrored = (result == photos[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_augmentation_depends_only_on_the_seed() -> None:
    photos = small.photos(64)
    result = augmented(photos, True, 0.2, 20)
    assert np.array_equal(result, augmented(photos, True, 0.2, 20))
    assert not np.array_equal(result, augmented(photos, True, 0.2, 20, seed=1))


def test_augmentation_adds_no_pixels_from_outside_the_photo() -> None:
    flat = np.full((8, 32, 32, 3), 90, np.uint8)
    assert (augmented(flat, True, 0.5, 180) == 90).all()


def test_a_photo_is_rotated_about_its_centre_by_at_most_the_angle() -> None:
    edge = np.zeros((200, 81, 81, 1), np.uint8)  # a vertical edge through the centre
    edge[:, :, 41:] = 200
    edge[:, :, 40] = 100
    turned = augmented(edge, False, 0.0, 20.0, seed=3)[..., 0].astype(float)
    places = 81 - turned.sum(axis=2) / 200  # the position of the edge in each row
    leans = np.abs(np.rad2deg(np.arctan((places[:, 55] - places[:, 25]) / 30)))
    assert 17 < leans.max() <= 21
    assert np.abs(places[:, 40] - 40.5).max() < 0.6


def test_a_zoom_keeps_the_centre_and_scales_the_sides_independently() -> None:
    square = np.zeros((300, 81, 81, 1), np.uint8)
    square[:, 30:51, 30:51] = 240
    zoomed = augmented(square, False, 0.2, 0.0, seed=5)[..., 0] / 240
    along, across = zoomed[:, :, 40].sum(axis=1) / 21, zoomed[:, 40].sum(axis=1) / 21
    for sides in (along, across):  # 1 / (1 + z) of their original length
        assert 1 / 1.2 - 0.03 < sides.min() < 0.88
        assert 1.17 < sides.max() < 1 / 0.8 + 0.03
    assert abs(np.corrcoef(along, across)[0, 1]) < 0.3
