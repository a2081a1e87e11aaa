"""Jobs of semantic-segmentation that are stopped, or diverge."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.framework import bodies_segmentation as bodies

Run = Callable[..., Any]
SEGMENTATION = {"VISION_ALGORITHM": "semantic-segmentation"}


def job(base: Path, changes: dict[str, Any] | None = None, **how: Any) -> jobs.Done:
    """Lay the configuration out under `base` and run the job."""
    jobs.configure(base, changes or {}, how.pop("mode", "File"), "image/jpeg", jobs.SEGMENTATION)
    return jobs.run(base, environ=SEGMENTATION, **how)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Channels of as few photos as make a batch."""
    return jobs.masked_channels(tmp_path_factory.mktemp("few"), train=8, validation=4)


@pytest.fixture
def again(few: Path, tmp_path: Path) -> Path:
    """A folder of its own with the few photos' channels."""
    base = tmp_path / "ml"
    (base / "input").mkdir(parents=True)
    (base / "input" / "data").symlink_to(few / "input" / "data")
    return base


def test_sigterm_while_training_exits_0_with_the_best_model_exported_and_checked(again: Path) -> None:
    done = job(again, {"epochs": 500}, until="#progress_metric", number=signal.SIGTERM)
    assert (done.code, done.failure) == (0, "")
    assert any("Asked to stop (SIGTERM received): finishing the current batch" in line for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert (done.model / "model.onnx").exists()


def test_a_loss_that_is_not_finite_ends_the_job_with_epoch_batch_and_rate_and_keeps_the_best(
    again: Path, in_mxnet: Run
) -> None:
    message = in_mxnet(bodies.run_to_a_loss_that_is_not_finite, again, jobs.SEGMENTATION)
    where = r"the (loss|answers) became (nan|inf) at epoch [1-3], .+, with learning_rate=\S+: lower"
    assert re.fullmatch(where + r" .*; epoch \d, the best before, is kept", message), message
    assert (again / "model" / "model.onnx").exists()
