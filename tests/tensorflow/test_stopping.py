"""TensorFlow jobs that are stopped, diverge or end early, and the logs of all these jobs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import golden, jobs, stopping
from tests.stopping import Ended
from train.job import earlier_model

pytestmark = pytest.mark.timeout(1800)  # the first of these tests waits for all jobs

TENSORFLOW = [name for name, algorithm in stopping.ALGORITHMS.items() if algorithm.environment == "tensorflow"]
ARTIFACT = {"model.onnx", "model.json", "model.keras"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """`ended(name, case)` returns the result of the job of this case."""
    with stopping.ended(tmp_path_factory.mktemp("stopping"), TENSORFLOW) as results:
        yield results


def names(done: jobs.Done) -> set[str]:
    """Return the names of the files in the model folder."""
    return {path.name for path in done.model.iterdir()}


def test_the_log_of_every_job_matches_its_golden_file(ended: Ended) -> None:
    golden.check({f"{name}/{case}": ended(name, case) for name in TENSORFLOW for case in stopping.cases(name)})


@pytest.mark.parametrize("case", ["whole", "early-stopping", "sigterm-in-mid-epoch", "sigterm-in-evaluation"])
@pytest.mark.parametrize("name", TENSORFLOW)
def test_complete_early_stopped_and_sigterm_jobs_exit_0_with_the_best_model(name: str, case: str, ended: Ended) -> None:
    done = ended(name, case)
    assert (done.code, done.failure) == (0, "")
    assert names(done) == ARTIFACT
    assert done.description["metrics"]["epoch"] == 0
    assert done.description["class_names"] == ["across", "down", "squares"]


@pytest.mark.parametrize("name", TENSORFLOW)
def test_sigterm_in_the_first_epoch_exits_0_without_a_model_and_sets_the_earlier_one_aside(
    name: str, ended: Ended
) -> None:
    done = ended(name, "sigterm-before-the-first-epoch")
    assert (done.code, done.failure) == (0, "")
    assert (done.texts(), done.texts(earlier_model.ASIDE)) == ({}, jobs.EARLIER)


@pytest.mark.parametrize("name", TENSORFLOW)
def test_a_loss_that_is_not_finite_exits_2_and_keeps_the_best_model(name: str, ended: Ended) -> None:
    done = ended(name, "divergence")
    where = "ClientError: the loss became nan at epoch 1, batch 1, with learning_rate=inf: lower "
    assert done.code == 2
    assert re.fullmatch(re.escape(where) + ".*; epoch 0, the best so far, is kept", done.failure), done.failure
    assert names(done) == ARTIFACT | {earlier_model.ASIDE}
    assert done.description["metrics"]["epoch"] == 0


def test_two_hosts_train_all_layers_identically_and_stop_with_0_and_a_checked_model(tmp_path: Path) -> None:
    folders = [jobs.image_channels(tmp_path / name, 84, 12) for name in ("one", "two")]
    shape = {"image_shape": "3,32,32", "alpha": "0.35", "num_classes": 3}
    for base in folders:
        jobs.configure(base, {**shape, "batch_size": 4, "epochs": 500}, defaults={})
    environ = {"VISION_ALGORITHM": "image-classification-tensorflow"}
    both = jobs.run_on_two_hosts(
        folders, until="Epoch[2] Validation-accuracy", environ=environ, environment="tensorflow", seconds=420
    )
    assert [(done.code, done.failure) for done in both] == [(0, "")] * 2
    first, second = ([line for line in done.lines if "Validation-" in line][:3] for done in both)
    assert len(first) == 3
    assert first == second
    assert any("Speed: " in line for line in both[0].lines)
    assert any(line.startswith("Check of model.onnx") for line in both[0].lines)
    assert names(both[0]) == ARTIFACT
    assert names(both[1]) == set()
