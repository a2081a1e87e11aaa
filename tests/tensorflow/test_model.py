"""A Keras classifier's weight file, and the identity that a checkpoint must share with its job."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tensorflow import small
from train.keras.model import Model


def model(seed: int = 0, **overrides: Any) -> Model:
    """Return the model of a network that has seen a batch."""
    hp = small.hyperparameters(seed=seed, **overrides)
    return Model(small.built(seed=seed, **overrides), small.Photos(), hp, "mobilenetv2_0.35", None)


def test_weights_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    first, second = model(train_layers="all"), model(1, train_layers="all")
    expected, different = first._net.model.get_weights(), second._net.model.get_weights()
    assert not all(map(np.array_equal, expected, different))
    first.write_weights(tmp_path / "model.keras")
    second.read_weights(tmp_path / "model.keras")
    for written, read in zip(expected, second._net.model.get_weights(), strict=True):
        np.testing.assert_array_equal(read, written)


def test_frozen_layers_are_part_of_a_jobs_identity() -> None:
    name = "checksum of the frozen layers"
    assert model(train_layers="head").identity()[name] == model(train_layers="head").identity()[name]
    assert model(train_layers="head").identity()[name] != model(1, train_layers="head").identity()[name]
    assert model(train_layers="all").identity()[name] == "00000000"


@pytest.mark.parametrize(("name", "value"), [("training images", 10), ("classes", ["0", "1", "2"])])
def test_the_data_is_part_of_a_jobs_identity(name: str, value: object) -> None:
    assert model().identity()[name] == value
