"""Saving a training state of image-classification-tensorflow and resuming it in another process."""

from pathlib import Path
from typing import Any

import pytest

from tests import jobs, resuming

NAME = "image-classification-tensorflow"


@pytest.mark.parametrize(
    "hyperparameters", [{"train_layers": "all"}, {"train_layers": "head", "lr_scheduler_step": "1,3"}]
)
def test_two_epochs_plus_two_in_a_new_process_equal_four_bit_for_bit(
    hyperparameters: dict[str, Any], tmp_path: Path
) -> None:
    base = jobs.image_channels(tmp_path, 12, 4)
    small = {"num_classes": 3, "image_shape": "3,32,32", "alpha": 0.35, "mini_batch_size": 4, "epochs": 4}
    jobs.configure(base, {**small, **hyperparameters}, defaults={})
    assert resuming.compare(NAME, base) == []
