"""What a Keras classifier's model folder holds, and what a checkpoint must have in common with its job."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tensorflow import small
from train.keras.model import Model


def model(seed: int = 0, **given: Any) -> Model:
    """The model of a network that has seen a batch."""
    hp = small.hyperparameters(seed=seed, **given)
    return Model(small.built(seed=seed, **given), small.Photos(), hp, "mobilenetv2_0.35", None)


def test_weights_that_were_written_come_back_from_their_file_bit_for_bit(tmp_path: Path) -> None:
    one, other = model(train_layers="all"), model(1, train_layers="all")
    before, others = one._net.model.get_weights(), other._net.model.get_weights()
    assert not all(map(np.array_equal, before, others))
    one.write_weights(tmp_path / "model.keras")
    other.read_weights(tmp_path / "model.keras")
    for wanted, found in zip(before, other._net.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_other_frozen_layers_make_another_job_of_it() -> None:
    name = "checksum of the frozen layers"
    assert model(train_layers="head").identity()[name] == model(train_layers="head").identity()[name]
    assert model(train_layers="head").identity()[name] != model(1, train_layers="head").identity()[name]
    assert model(train_layers="all").identity()[name] == "00000000"


@pytest.mark.parametrize(("name", "value"), [("training images", 10), ("classes", ["0", "1", "2"])])
def test_the_data_is_part_of_what_makes_a_job(name: str, value: object) -> None:
    assert model().identity()[name] == value
