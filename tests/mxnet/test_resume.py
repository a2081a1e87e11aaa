"""Saving a training state of the MXNet algorithms and resuming it in another process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs, resuming

JOBS: dict[str, tuple[Callable[[Path, int, int], Path], dict[str, Any]]] = {
    "image-classification": (jobs.image_channels, jobs.HYPERPARAMETERS),
    "object-detection": (jobs.boxed_channels, jobs.DETECTION),
    "semantic-segmentation": (jobs.masked_channels, jobs.SEGMENTATION),
}


@pytest.mark.parametrize(
    ("algorithm", "hyperparameters"),
    [
        ("image-classification", {}),
        ("image-classification", {"optimizer": "adam", "learning_rate": 0.01, "lr_scheduler_step": "1,3"}),
        ("object-detection", {}),
        ("semantic-segmentation", {}),
    ],
)
def test_two_epochs_plus_two_in_a_new_process_equal_four_bit_for_bit(
    algorithm: str, hyperparameters: dict[str, Any], tmp_path: Path
) -> None:
    lay_out, defaults = JOBS[algorithm]
    base = lay_out(tmp_path, 12, 4)
    small = {"num_training_samples": 12, "mini_batch_size": 4, "epochs": 4}
    jobs.configure(base, {**small, **hyperparameters}, defaults=defaults)
    assert resuming.compare(algorithm, base) == []
