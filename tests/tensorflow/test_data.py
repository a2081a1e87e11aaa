"""Data of image-classification-tensorflow: .lst channels, batches, and a photo that disappears.

tests/unit/test_train_folders.py tests class folders.
"""

import gc
import logging
from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.data.ops.iterator_ops import OwnedIterator

from tests import jobs
from tests.tensorflow import small
from train.data import channels
from train.errors import UserError
from train.keras import data


def test_lst_channels_are_read_as_in_image_classification(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = jobs.image_channels(tmp_path, 32, 6)
    jobs.configure(base, {})
    with caplog.at_level(logging.INFO, logger="train"):
        loaded, _ = data.load(channels.load(base / "input"), small.hyperparameters(num_training_samples=40))
    assert (len(loaded.train), len(loaded.validation)) == (32, 6)
    assert loaded.class_names == jobs.CLASSES
    assert "num_training_samples=40, but there are 32" in caplog.text


@pytest.fixture
def photos() -> small.Photos:
    """Ten photos: two batches of four, and half a batch."""
    return small.Photos(10)


@pytest.fixture
def batches(photos: small.Photos) -> data.PixelBatches:
    """Batches without augmentation, so that photos can be recognized."""
    return data.PixelBatches(photos, small.hyperparameters(mini_batch_size=4, **small.STILL))


def numbers(images: np.ndarray, photos: small.Photos) -> list[int]:
    """Return the numbers of these photos."""
    known = [photo.tobytes() for photo in photos.drawn]
    return [known.index(image.tobytes()) for image in images]


def test_each_epoch_shuffles_all_photos_and_repeats_with_the_same_seed(
    photos: small.Photos, batches: data.PixelBatches
) -> None:
    def order(epoch: int) -> list[int]:
        return [number for images, _ in batches.epoch(epoch) for number in numbers(images, photos)]

    first, second = order(0), order(1)
    assert first == order(0) != second
    assert sorted(first[:10]) == sorted(second[:10]) == list(range(10))
    assert len(first) == 4 * len(batches) == 12
    assert first[10:] == first[:2]  # the start of the epoch fills up the last batch


def test_a_batch_holds_the_pixels_and_labels_of_photos(photos: small.Photos, batches: data.PixelBatches) -> None:
    for images, labels in batches.epoch(0):
        assert (images.dtype, images.shape, labels.dtype) == (np.uint8, (4, 32, 32, 3), np.int64)
        assert labels.tolist() == [photos.train[number].label for number in numbers(images, photos)]


class Vanished(small.Photos):
    """Photos that were removed after the job started."""

    def pixels(self, index: int) -> np.ndarray:
        raise UserError(f"train image {index}.jpg does not exist, although it was readable when the job began")


def test_a_photo_that_disappears_during_training_is_named_and_no_iterator_remains() -> None:
    batches = data.PixelBatches(Vanished(), small.hyperparameters(mini_batch_size=4))
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(UserError, match=r"^train image \d\.jpg does not exist, although it was readable when"):
            list(batches.epoch(0))
        # An iterator that still exists when the process ends would wait forever for its reading threads.
        assert not [item for item in gc.get_objects() if isinstance(item, OwnedIterator)]
    finally:
        gc.enable()
