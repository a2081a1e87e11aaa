"""TensorFlow jobs that are killed at random moments and restarted until they are done."""

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import interrupting, jobs, resuming
from train import state

TENSORFLOW = [name for name, algorithm in interrupting.ALGORITHMS.items() if algorithm.environment == "tensorflow"]


@pytest.mark.timeout(1800)  # make soak/training runs several seeds
@pytest.mark.parametrize("name", TENSORFLOW)
def test_a_job_that_is_killed_and_started_again_gives_bit_identical_results(name: str, tmp_path: Path) -> None:
    whole = interrupting.Job(name, tmp_path / "whole")
    whole.run()
    for seed in interrupting.SEEDS:
        interrupting.check(name, tmp_path / str(seed), seed, whole)


def two_hosts(folder: Path) -> list[Path]:
    """Lay out the folders of a job on two hosts, each with a checkpoint folder."""
    folders = [jobs.image_channels(folder / name, 12, 4) for name in ("one", "two")]
    for base in folders:
        jobs.configure(base, {"mini_batch_size": 4, "epochs": 4}, defaults=interrupting.KERAS)
        (base / "checkpoints").mkdir()
    return folders


def run(folders: Sequence[Path], **options: Any) -> list[jobs.Done]:
    """Run the job on both hosts."""
    environ = {"VISION_ALGORITHM": "image-classification-tensorflow"}
    program = ("tests.trouble", "often")
    return jobs.run_on_two_hosts(folders, environ=environ, environment="tensorflow", program=program, **options)


def final(folder: Path) -> dict[str, Any]:
    """Return the trainer's state after the last epoch on the first host."""
    return state.read(folder / "checkpoints" / "checkpoint-0004.state")["trained"]


def test_two_killed_hosts_resume_from_the_first_hosts_checkpoints_bit_for_bit(tmp_path: Path) -> None:
    whole, killed = two_hosts(tmp_path / "whole"), two_hosts(tmp_path / "killed")
    assert [done.code for done in run(whole)] == [0, 0]
    first = run(killed, until="Epoch[2] Train-accuracy", number=signal.SIGKILL)
    assert [done.code for done in first] == [-signal.SIGKILL] * 2
    assert list((killed[1] / "checkpoints").iterdir()) == []
    again = run(killed)
    assert [done.code for done in again] == [1, 1]  # the second host has no checkpoint
    assert "the hosts would resume from different epochs, this one from epoch 2: they must have" in again[0].failure
    assert "the hosts would resume from different epochs, this one from epoch 0: they must have" in again[1].failure
    shutil.rmtree(killed[0] / "model")  # as on SageMaker, which copies the checkpoints to each host
    shutil.copytree(killed[0] / "checkpoints", killed[1] / "checkpoints", dirs_exist_ok=True)
    again = run(killed)
    assert [(done.code, done.failure) for done in again] == [(0, "")] * 2
    for done in again:
        assert next(line for line in done.lines if "Validation-" in line).startswith("Epoch[2] ")
    assert resuming.differences(final(killed[0]), final(whole[0])) == []
    assert {path.name for path in again[0].model.iterdir()} == {"model.onnx", "model.json", "model.keras"}
    assert list(again[1].model.iterdir()) == []
