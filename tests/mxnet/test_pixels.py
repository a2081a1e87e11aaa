"""Normalising the pixels of a batch, compared with the server's preprocessing."""

import numpy as np
import pytest
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from train.data.pixels import GREY_MEAN, GREY_STD, MEAN, STD, Normalise


@pytest.mark.parametrize("step", [1, -1], ids=["unchanged", "flipped"])
@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [pytest.param(3, MEAN, STD, id="colour"), pytest.param(1, GREY_MEAN, GREY_STD, id="grey")],
)
def test_a_crop_in_a_batch_equals_the_servers_tensor_of_the_same_pixels(
    channels: int, mean: tuple[float, ...], std: tuple[float, ...], step: int
) -> None:
    spec = InputSpec("data", channels, 40, 50, 50, "stretch", mean, std)
    photo = np.random.default_rng(0).integers(0, 256, (60, 70, channels)).astype(np.uint8)
    crop = photo[5:45, 10:60][:, ::step]  # a view, not contiguous
    batch = np.full((2, channels, 40, 50), np.nan, np.float32)
    Normalise(spec)(crop, batch[1])
    image = Image.fromarray(np.ascontiguousarray(crop if channels == 3 else crop[..., 0]))
    np.testing.assert_array_equal(batch[1], preprocess.to_tensor(image, spec))
    assert np.isnan(batch[0]).all(), "another photo's part of the batch changed"
