"""MXNet jobs that are stopped, diverge or end early, and the logs of all these jobs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import golden, jobs, stopping
from tests.stopping import ALGORITHMS, Ended
from train.job import earlier_model

pytestmark = pytest.mark.timeout(1800)  # the first of these tests waits for all jobs

MXNET = [name for name, algorithm in ALGORITHMS.items() if algorithm.environment == "mxnet"]
ARTIFACT = {"model.onnx", "model.json"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """`ended(algorithm, case)` returns the result of the job of this case."""
    with stopping.ended(tmp_path_factory.mktemp("stopping"), MXNET) as results:
        yield results


def names(folder: Path) -> set[str]:
    """Return the names of the files in a folder."""
    return {path.name for path in folder.iterdir()}


def test_the_log_of_every_job_matches_its_golden_file(ended: Ended) -> None:
    golden.check({f"{name}/{case}": ended(name, case) for name in MXNET for case in stopping.cases(name)})


@pytest.mark.parametrize("name", MXNET)
def test_a_complete_job_keeps_the_best_epoch(name: str, ended: Ended) -> None:
    done = ended(name, "whole")
    assert (done.code, done.failure) == (0, "")
    assert names(done.model) == ALGORITHMS[name].files | ALGORITHMS[name].last | ARTIFACT
    assert done.description["metrics"]["epoch"] == 0


@pytest.mark.parametrize("case", ["sigterm-in-mid-epoch", "sigterm-in-evaluation"])
@pytest.mark.parametrize("name", MXNET)
def test_sigterm_during_training_exits_0_with_the_best_model(name: str, case: str, ended: Ended) -> None:
    done = ended(name, case)
    assert (done.code, done.failure) == (0, "")
    assert names(done.model) == ALGORITHMS[name].files | ALGORITHMS[name].last | ARTIFACT
    assert done.description["metrics"]["epoch"] == 0


@pytest.mark.parametrize("case", ["sigterm-while-the-artifact-is-checked", "ctrl-c-while-the-artifact-is-checked"])
def test_sigterm_or_ctrl_c_during_the_export_lets_it_finish(case: str, ended: Ended) -> None:
    done = ended("image-classification", case)
    assert (done.code, done.failure) == (0, "")
    assert names(done.model) == ALGORITHMS["image-classification"].files | ARTIFACT


@pytest.mark.parametrize("name", MXNET)
def test_sigterm_in_the_first_epoch_exits_0_without_a_model_and_sets_the_earlier_one_aside(
    name: str, ended: Ended
) -> None:
    done = ended(name, "sigterm-before-the-first-epoch")
    assert (done.code, done.failure) == (0, "")
    assert (done.texts(), done.texts(earlier_model.ASIDE)) == ({}, jobs.EARLIER)


@pytest.mark.parametrize("case", ["sigterm-at-the-start", "sigterm-before-the-data", "sigterm-while-data-is-read"])
def test_sigterm_before_the_data_is_accepted_exits_0_and_keeps_the_earlier_model(case: str, ended: Ended) -> None:
    done = ended("image-classification", case)
    assert (done.code, done.failure) == (0, "")
    assert done.texts() == jobs.EARLIER
    assert names(done.model) == set(jobs.EARLIER)


@pytest.mark.parametrize("name", MXNET)
def test_a_loss_that_is_not_finite_exits_2_and_keeps_the_best_model(name: str, ended: Ended) -> None:
    done = ended(name, "divergence")
    where = "ClientError: the loss became nan at epoch 1, batch 1, with learning_rate=inf: lower "
    assert done.code == 2
    assert re.fullmatch(re.escape(where) + ".*; epoch 0, the best so far, is kept", done.failure), done.failure
    assert names(done.model) == ALGORITHMS[name].files | ARTIFACT | {earlier_model.ASIDE}
    assert done.description["metrics"]["epoch"] == 0


def test_divergence_in_the_first_epoch_exits_2_and_restores_the_earlier_model(ended: Ended) -> None:
    done = ended("image-classification", "divergence-in-the-first-epoch")
    where = "ClientError: the predictions became nan at epoch 0, during validation, with learning_rate=inf: lower "
    assert done.code == 2
    assert re.fullmatch(re.escape(where) + ".*; no epoch was finished, so there is no model", done.failure)
    assert done.texts() == jobs.EARLIER
    assert names(done.model) == set(jobs.EARLIER)


@pytest.mark.parametrize("name", MXNET)
def test_early_stopping_exits_0_with_the_best_model(name: str, ended: Ended) -> None:
    done = ended(name, "early-stopping")
    assert (done.code, done.failure) == (0, "")
    assert names(done.model) >= ALGORITHMS[name].files | ALGORITHMS[name].last | ARTIFACT
    assert done.description["metrics"]["epoch"] == 0


def test_early_stopping_needs_both_the_minimum_of_epochs_and_the_patience(ended: Ended) -> None:
    # At least 4 of 50 epochs with a patience of 2, and a file for each epoch, counted from 1.
    kept = {path.name for path in ended("image-classification", "early-stopping").model.glob("*.params")}
    assert kept == {f"image-classification-000{epoch}.params" for epoch in (1, 2, 3, 4)}
