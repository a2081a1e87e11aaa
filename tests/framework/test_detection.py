"""Jobs of object-detection that are stopped, or diverge."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.framework import bodies_detection as bodies

Run = Callable[..., Any]
DETECTION = {"VISION_ALGORITHM": "object-detection"}


def job(base: Path, changes: dict[str, Any] | None = None, **how: Any) -> jobs.Done:
    """Lay the configuration out under `base` and run the job."""
    content_type = how.pop("content_type", "image/jpeg")
    mode = how.pop("mode", "File")
    jobs.configure(base, changes or {}, mode, content_type, jobs.DETECTION)
    return jobs.run(base, environ=DETECTION, **how)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Channels of as few photos as make a batch."""
    return jobs.boxed_channels(tmp_path_factory.mktemp("few"), train=8, validation=4)


def test_a_learning_rate_that_diverges_ends_a_job_with_exit_code_2_and_the_rate_in_the_failure(few: Path) -> None:
    changes = {"base_network": "vgg-16", "optimizer": "sgd", "learning_rate": 1, "momentum": 0.99, "epochs": 4}
    done = job(few, {**changes, "num_training_samples": 8})
    assert done.code == 2
    assert re.match(
        r"ClientError: the (loss|answers) became (nan|inf) at epoch \d, .* with learning_rate=1:", done.failure
    )
    assert not (done.model / "model.onnx").exists() or "is kept" in done.failure


def test_sigterm_while_training_exits_0_with_the_best_model_exported_and_checked(few: Path) -> None:
    done = job(few, {"epochs": 500}, until="#progress_metric", number=signal.SIGTERM)
    assert (done.code, done.failure) == (0, "")
    assert any("Asked to stop (SIGTERM received): finishing the current batch" in line for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert (done.model / "model.onnx").exists()


def test_a_loss_that_is_not_finite_ends_the_job_with_epoch_batch_and_rate_and_keeps_the_best(
    few: Path, tmp_path: Path, in_mxnet: Run
) -> None:
    base = tmp_path / "ml"
    (base / "input").mkdir(parents=True)
    (base / "input" / "data").symlink_to(few / "input" / "data")
    message = in_mxnet(bodies.run_to_a_loss_that_is_not_finite, base, jobs.DETECTION)
    where = r"the (loss|answers) became (nan|inf) at epoch [1-3], .+, with learning_rate=\S+: lower"
    assert re.fullmatch(where + r" .*; epoch \d, the best before, is kept", message), message
    assert (base / "model" / "model.onnx").exists()
