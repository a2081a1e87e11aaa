"""Jobs with a checkpoint folder that are started again: as they were, to train longer, stopped, or as other jobs.

What is the same for all algorithms; kills at random moments are in test_interrupted.py.
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
    """Run the job with these hyperparameters, in the folder of an earlier run."""
    jobs.configure(base, {**SMALL, **changes})
    return jobs.run(base, program=program, limits=limits)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, jobs.Done]:
    """The folder of a job that has trained two epochs, which are not to be changed, and what it left."""
    base = jobs.image_channels(tmp_path_factory.mktemp("trained"), 12, 4)
    (base / "checkpoints").mkdir()
    return base, run(base, OFTEN, epochs=2)


@pytest.fixture
def base(trained: tuple[Path, jobs.Done], tmp_path: Path) -> Path:
    """A copy of that folder as SageMaker has it when the job is started again: without the model."""
    copied = tmp_path / "again"
    shutil.copytree(trained[0], copied)
    shutil.rmtree(copied / "model")
    return copied


def names(folder: Path) -> set[str]:
    """The names in a folder."""
    return {path.name for path in folder.iterdir()}


def begins(done: jobs.Done) -> str:
    """The line about the checkpoint that the job goes on from."""
    (line,) = [line for line in done.lines if line.startswith(("Resuming from", "No checkpoint to resume"))]
    return line.partition("checkpoints")[2]


def epochs(done: jobs.Done) -> list[int]:
    """The epochs that were evaluated."""
    return [int(line[6]) for line in done.lines if "Validation-accuracy" in line]


def test_a_job_that_was_done_writes_and_checks_its_model_again_and_trains_nothing(
    trained: tuple[Path, jobs.Done], base: Path
) -> None:
    first, again = trained[1], run(base, epochs=2)
    assert (first.code, again.code, epochs(first), epochs(again)) == (0, 0, [0, 1], [])
    assert begins(again).startswith("/checkpoint-0002.state: 2 epochs done, the best is epoch ")
    assert any(line.startswith("Check of model.onnx") for line in again.lines)
    assert names(again.model) == names(first.model)
    assert (again.model / "model.onnx").read_bytes() == (first.model / "model.onnx").read_bytes()


def test_a_job_with_more_epochs_and_another_learning_rate_trains_the_rest(base: Path) -> None:
    done = run(base, epochs=4, learning_rate=0.01)
    assert (done.code, epochs(done)) == (0, [2, 3])
    assert "epochs was 2 and is 4 from here on" in done.lines
    assert "learning_rate was 0.05 and is 0.01 from here on" in done.lines
    assert names(base / "checkpoints") >= {"checkpoint-0002.state", "checkpoint-0004.state"}


def test_another_network_is_refused_with_both_and_an_earlier_model_stays(base: Path) -> None:
    jobs.earlier_model(base)
    done = run(base, epochs=2, num_layers=32)
    assert done.code == 2
    told = (
        "checkpoint-0002.state is of another job: network: cifar_resnet20 there, cifar_resnet32 here; hyperparameter "
    )
    assert f"{told}num_layers: 20 there, 32 here. Set back what has changed, or train " in done.failure
    assert (done.texts(), names(done.model)) == (jobs.EARLIER, set(jobs.EARLIER))


def test_another_number_of_photos_is_refused_with_both(base: Path) -> None:
    lst = base / "input" / "data" / "train_lst" / "train.lst"
    lst.write_text("".join(lst.read_text().splitlines(keepends=True)[1:]))
    done = run(base, epochs=2)
    assert done.code == 2
    assert "is of another job: training images: 12 there, 11 here. Set back" in done.failure


def test_sigterm_before_a_resumed_job_has_ended_an_epoch_exports_the_best_epoch_of_the_checkpoint(base: Path) -> None:
    done = run(base, stopping.stop_at("Resuming from", 1), epochs=4)
    assert (done.code, epochs(done)) == (0, [])
    assert "finishing the current batch, then keeping the best model so far" in done.log
    assert names(done.model) >= FILES
    assert names(base / "checkpoints") >= {"checkpoint-0001.state", "checkpoint-0002.state"}


def test_sigterm_while_a_resumed_job_reads_its_data_ends_it_at_once_and_keeps_the_checkpoints(base: Path) -> None:
    before = names(base / "checkpoints")
    done = run(base, stopping.stop_at("samples in image form", 0), epochs=4)
    assert done.code == 0
    kept = (
        f"before training went on: the checkpoints in {base / 'checkpoints'} are kept, and the job goes on from there."
    )
    assert f"Asked to stop (SIGTERM received) {kept} Stopping." in done.log
    assert (names(done.model), names(base / "checkpoints")) == (set(), before)


def test_sigterm_writes_the_checkpoint_of_the_last_whole_epoch(base: Path) -> None:
    done = run(base, stopping.stop_at("Epoch[2] Validation-accuracy", 2), epochs=6)
    assert (done.code, epochs(done)) == (0, [2])
    assert names(done.model) >= FILES
    assert names(base / "checkpoints") >= {"checkpoint-0002.state", "checkpoint-0003.state"}
    assert epochs(run(base, epochs=4)) == [3]


def test_a_damaged_checkpoint_costs_an_epoch_and_a_warning(base: Path) -> None:
    path = base / "checkpoints" / "checkpoint-0002.state"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = run(base, epochs=2)
    assert (done.code, epochs(done)) == (0, [1])
    assert f"A checkpoint is passed over: {path} is damaged or incomplete: its checksum is not that" in done.log


def weights_but_no_checkpoint() -> None:
    """Let the process write no file of more than 1.5 MB: the weights have 1.1, a checkpoint 2.2."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))


def test_a_checkpoint_folder_that_is_full_costs_warnings_and_not_the_job(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, 12, 4)
    (base / "checkpoints").mkdir()
    jobs.earlier_model(base)
    done = run(base, OFTEN, weights_but_no_checkpoint, epochs=2)
    assert (done.code, epochs(done)) == (0, [0, 1])
    told = [line for line in done.lines if line.startswith("No checkpoint after epoch ")]
    assert [line.partition(",")[0] for line in told] == ["No checkpoint after epoch 0", "No checkpoint after epoch 1"]
    assert names(done.model) >= FILES
    assert earlier_model.ASIDE not in names(done.model)
    assert not [name for name in names(base / "checkpoints") if not name.startswith("weights")]
