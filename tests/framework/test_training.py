"""Training jobs of image-classification, run by the real `train` program in the MXNet environment."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.framework import bodies_training
from train import earlier

Run = Callable[..., Any]


def test_early_stopping_ends_after_the_patience_without_gain(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    stopping = {"early_stopping": "True", "early_stopping_min_epochs": 2, "early_stopping_patience": 2}
    jobs.configure(base, {"learning_rate": 0, "epochs": 50, **stopping})
    done = jobs.run(base)
    assert done.code == 0
    assert any(line.startswith("Early stopping after epoch") for line in done.lines)
    assert not any(line.startswith("Epoch[20]") for line in done.lines)


def test_a_loss_that_is_not_finite_ends_the_job_with_epoch_batch_and_rate_and_keeps_the_best_model(
    in_mxnet: Run, tmp_path: Path
) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    said = in_mxnet(bodies_training.run_to_a_loss_that_is_not_finite, base, {**jobs.HYPERPARAMETERS, "epochs": 9})
    where = r"the (loss|answers) became (nan|inf) at epoch [12], .+, with learning_rate=5e\+28: lower"
    assert re.fullmatch(where + " .*; epoch 0, the best before, is kept", said), said
    assert {"model.onnx", "model.json", "image-classification-0001.params"} <= {
        p.name for p in (base / "model").iterdir()
    }


def test_sigterm_while_training_exits_0_with_the_best_model_exported_and_checked(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path)
    jobs.configure(base, {"epochs": 500})
    done = jobs.run(base, until="Epoch[1] Validation-accuracy")
    assert (done.code, done.failure) == (0, "")
    assert any(line.startswith("Asked to stop (SIGTERM received)") for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert (done.model / "model.onnx").exists()


@pytest.mark.parametrize("until", ["Docker entrypoint called", "Merging", "samples in image form", "is set aside in"])
def test_sigterm_before_the_first_epoch_exits_0_at_once_and_leaves_no_half_model(until: str, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path)
    jobs.configure(base, {"epochs": 500})
    jobs.earlier_model(base)
    done = jobs.run(base, until=until)
    assert (done.code, done.failure) == (0, "")
    assert "Asked to stop (SIGTERM received) before any epoch was finished: there is no model to keep." in done.log
    if until == "is set aside in":  # accepted, so what is served must be its own
        assert (done.left(), done.left(earlier.ASIDE)) == ({}, jobs.EARLIER)
    else:
        assert done.left() == jobs.EARLIER


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_or_ctrl_c_while_the_model_is_exported_lets_it_finish(number: int, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    jobs.configure(base, {"epochs": 1})
    done = jobs.run(base, until="Checking the artifact", number=number)
    assert done.code == 0
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
