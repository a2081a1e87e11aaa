"""Jobs that resume from checkpoints: unchanged, with more epochs, stopped, or with other settings.

These tests apply to all algorithms. test_interrupted.py tests kills at random moments.
"""

import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import jobs, stopping
from train.job import earlier_model

OFTEN = ("tests.trouble", "often")
SMALL = {"num_training_samples": 12, "mini_batch_size": 4}
FILES = {"model.onnx", "model.json", "image-classification-symbol.json", "model-shapes.json"}


def run(base: Path, program: tuple[str, ...] = stopping.TRAIN, limits: Any = None, **changes: Any) -> jobs.Done:
    """Run the job with these hyperparameters under `base`."""
    jobs.configure(base, {**SMALL, **changes})
    return jobs.run(base, program=program, limits=limits)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, jobs.Done]:
    """The read-only folder of a job that has trained two epochs, and its result."""
    base = jobs.image_channels(tmp_path_factory.mktemp("trained"), 12, 4)
    (base / "checkpoints").mkdir()
    return base, run(base, OFTEN, epochs=2)


@pytest.fixture
def base(trained: tuple[Path, jobs.Done], tmp_path: Path) -> Path:
    """A copy of that folder without the model, as SageMaker provides it when the job restarts."""
    copied = tmp_path / "again"
    shutil.copytree(trained[0], copied)
    shutil.rmtree(copied / "model")
    return copied


def names(folder: Path) -> set[str]:
    """Return the names of the files in a folder."""
    return {path.name for path in folder.iterdir()}


def resumed_from(done: jobs.Done) -> str:
    """Return the end of the log line about the checkpoint that the job resumes from."""
    (line,) = [line for line in done.lines if line.startswith(("Resuming from", "No checkpoint to resume"))]
    return line.partition("checkpoints")[2]


def epochs(done: jobs.Done) -> list[int]:
    """Return the epochs that were evaluated."""
    return [int(line[6]) for line in done.lines if "Validation-accuracy" in line]


def test_a_finished_job_writes_and_checks_its_model_again_without_training(
    trained: tuple[Path, jobs.Done], base: Path
) -> None:
    first, again = trained[1], run(base, epochs=2)
    assert (first.code, again.code, epochs(first), epochs(again)) == (0, 0, [0, 1], [])
    assert resumed_from(again).startswith("/checkpoint-0002.state: 2 epochs done, the best is epoch ")
    assert any(line.startswith("Check of model.onnx") for line in again.lines)
    assert names(again.model) == names(first.model)
    assert (again.model / "model.onnx").read_bytes() == (first.model / "model.onnx").read_bytes()


def test_a_job_with_more_epochs_and_a_new_learning_rate_trains_the_remaining_epochs(base: Path) -> None:
    done = run(base, epochs=4, learning_rate=0.01)
    assert (done.code, epochs(done)) == (0, [2, 3])
    assert "epochs changed from 2 to 4" in done.lines
    assert "learning_rate changed from 0.05 to 0.01" in done.lines
    assert names(base / "checkpoints") >= {"checkpoint-0002.state", "checkpoint-0004.state"}


def test_a_different_network_is_rejected_naming_both_and_the_earlier_model_stays(base: Path) -> None:
    jobs.earlier_model(base)
    done = run(base, epochs=2, num_layers=32)
    assert done.code == 2
    expected = (
        "checkpoint-0002.state belongs to another job: network: cifar_resnet20 in the checkpoint, cifar_resnet32 in "
        "this job; hyperparameter "
    )
    assert (
        f"{expected}num_layers: 20 in the checkpoint, 32 in this job. Restore the old values, or train " in done.failure
    )
    assert (done.texts(), names(done.model)) == (jobs.EARLIER, set(jobs.EARLIER))


def test_a_different_number_of_photos_is_rejected_naming_both(base: Path) -> None:
    lst = base / "input" / "data" / "train_lst" / "train.lst"
    lst.write_text("".join(lst.read_text().splitlines(keepends=True)[1:]))
    done = run(base, epochs=2)
    assert done.code == 2
    assert "belongs to another job: training images: 12 in the checkpoint, 11 in this job. Restore" in done.failure


def test_sigterm_in_a_resumed_jobs_first_epoch_exports_the_checkpoints_best_epoch(base: Path) -> None:
    done = run(base, stopping.stop_at("Resuming from", 1), epochs=4)
    assert (done.code, epochs(done)) == (0, [])
    assert "finishing the current batch, then keeping the best model so far" in done.log
    assert names(done.model) >= FILES
    assert names(base / "checkpoints") >= {"checkpoint-0001.state", "checkpoint-0002.state"}


def test_sigterm_while_a_resumed_job_reads_data_ends_it_and_keeps_the_checkpoints(base: Path) -> None:
    before = names(base / "checkpoints")
    done = run(base, stopping.stop_at("samples in image form", 0), epochs=4)
    assert done.code == 0
    kept = (
        f"before training resumed: the checkpoints in {base / 'checkpoints'} are kept, and the next job resumes from "
        "them."
    )
    assert f"Asked to stop (SIGTERM received) {kept} Stopping." in done.log
    assert (names(done.model), names(base / "checkpoints")) == (set(), before)


def test_sigterm_writes_a_checkpoint_of_the_last_complete_epoch(base: Path) -> None:
    done = run(base, stopping.stop_at("Epoch[2] Validation-accuracy", 2), epochs=6)
    assert (done.code, epochs(done)) == (0, [2])
    assert names(done.model) >= FILES
    assert names(base / "checkpoints") >= {"checkpoint-0002.state", "checkpoint-0003.state"}
    assert epochs(run(base, epochs=4)) == [3]


def test_a_damaged_checkpoint_is_skipped_with_a_warning(base: Path) -> None:
    path = base / "checkpoints" / "checkpoint-0002.state"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = run(base, epochs=2)
    assert (done.code, epochs(done)) == (0, [1])
    assert f"Skipping a checkpoint: {path} is damaged or incomplete: its checksum does not match" in done.log


def weights_but_no_checkpoint() -> None:
    """Limit files to 1.5 MB. The weights take 1.1 MB and a checkpoint 2.2 MB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))


def test_a_full_checkpoint_folder_gives_warnings_and_the_job_succeeds(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, 12, 4)
    (base / "checkpoints").mkdir()
    jobs.earlier_model(base)
    done = run(base, OFTEN, weights_but_no_checkpoint, epochs=2)
    assert (done.code, epochs(done)) == (0, [0, 1])
    skipped = [line for line in done.lines if line.startswith("No checkpoint after epoch ")]
    assert [line.partition(",")[0] for line in skipped] == [
        "No checkpoint after epoch 0",
        "No checkpoint after epoch 1",
    ]
    assert names(done.model) >= FILES
    assert earlier_model.ASIDE not in names(done.model)
    assert not [name for name in names(base / "checkpoints") if not name.startswith("weights")]
