"""The checkpoint folder: its files, resuming from it, and the effects of kills, damage and a full disk."""

import json
import logging
import math
import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train import state
from train.errors import UserError
from train.job import checkpoints, configuration, identity, stop
from train.job.checkpoints import Checkpoints

OWN: dict[str, Any] = {
    "network": "resnet18",
    "classes": ["cat", "dog"],
    "training images": 300,
    "validation images": 30,
    "hyperparameters": {"epochs": 3, "optimizer": "sgd", "learning_rate": 0.1, "lr_scheduler_step": (10, 20)},
}
BEST = (1, 1, 3, 3, 5, 5)  # the best epoch, counted from 1, after 1, 2, ... epochs


@pytest.fixture(autouse=True)
def _exit_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "_exit_message", ["no model"])


@pytest.fixture(autouse=True)
def _checkpoint_after_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_MIN_INTERVAL", 0)
    monkeypatch.setattr(checkpoints, "_MAX_SHARE", math.inf)


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """`messages(level)` returns the messages logged at this level since the last call."""
    monkeypatch.setattr(logging.getLogger("train"), "propagate", True)
    caplog.set_level(logging.INFO, "train")

    def take(level: str) -> list[str]:
        logged = [record.getMessage() for record in caplog.records if record.levelname == level]
        caplog.clear()
        return logged

    return take


class Job:
    """A job with its number of epochs as parameters, and a model folder with one file for each kept epoch."""

    def __init__(
        self, base: Path, own: Mapping[str, Any] = OWN, kept: tuple[int, ...] = (), writes: bool = True
    ) -> None:
        self.folder, self.model, self.kept = base / "checkpoints", base / "model", kept
        self.model.mkdir(parents=True, exist_ok=True)
        self.checkpoints = Checkpoints(self.folder, own, writes)
        self.done = 0

    def resume(self) -> None:
        """Resume from the newest checkpoint, and restore its weights in the model folder."""
        checkpoint = self.checkpoints.newest()
        if checkpoint is None:
            return
        self.done = checkpoint.state["next"]
        assert checkpoint.state["parameters"].tolist() == [self.done]
        assert checkpoint.state["best"]["epoch"] == BEST[self.done - 1] - 1
        for path in self.model.iterdir():
            path.unlink()
        for epoch, write in checkpoint.weights.items():
            write(self.model / str(epoch))
        expected = self.weights(self.done, BEST[self.done - 1] - 1)
        assert {path.name: path.read_text() for path in self.model.iterdir()} == {
            str(epoch): f"weights after {epoch}" for epoch in expected
        }

    def train(self, epochs: int) -> None:
        """Train `epochs` more epochs."""
        for _ in range(epochs):
            self.done += 1
            (self.model / str(self.done)).write_text(f"weights after {self.done}")
            trained = {
                "next": self.done,
                "best": {"epoch": BEST[self.done - 1] - 1},
                "parameters": np.array([self.done]),
            }
            self.checkpoints.save(trained, self.weights)

    def weights(self, done: int, best: int) -> dict[int, Path]:
        kept = {epoch for epoch in self.kept if epoch <= done} | {best + 1}
        return {epoch: self.model / str(epoch) for epoch in sorted(kept)}

    @property
    def names(self) -> set[str]:
        """The names of checkpoints and weight files."""
        return {path.name.removesuffix(".state") for path in self.folder.iterdir()}


def resumed(base: Path, **options: Any) -> int:
    """Resume a job and return how many epochs are done."""
    job = Job(base, **options)
    job.resume()
    return job.done


def trained(base: Path, epochs: int) -> Job:
    """Return a job that has trained `epochs` epochs."""
    job = Job(base)
    job.resume()
    job.train(epochs)
    return job


def damage(path: Path) -> None:
    """Flip a bit in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_last_two_checkpoints_are_kept_with_the_weights_of_their_best_epochs(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.resume()
    for expected in (
        {"checkpoint-0001", "weights-0001"},
        {"checkpoint-0001", "checkpoint-0002", "weights-0001"},
        {"checkpoint-0002", "checkpoint-0003", "weights-0001", "weights-0003"},
        {"checkpoint-0003", "checkpoint-0004", "weights-0003"},
    ):
        job.train(1)
        assert job.names == expected
    assert resumed(tmp_path) == 4


def test_the_best_epochs_weights_are_written_only_when_it_changes(tmp_path: Path) -> None:
    job = trained(tmp_path, 1)
    first = (job.folder / "weights-0001.state").stat()
    job.train(1)
    assert (job.folder / "weights-0001.state").stat() == first


def test_weights_of_every_nth_epoch_survive_interruptions(tmp_path: Path) -> None:
    for done in range(1, len(BEST) + 1):
        job = Job(tmp_path, kept=(2, 4, 6))
        job.resume()
        job.train(1)
        assert job.done == done
    assert job.names == {
        "checkpoint-0005",
        "checkpoint-0006",
        "weights-0002",
        "weights-0004",
        "weights-0005",
        "weights-0006",
    }


def test_the_log_gives_the_first_epoch_and_the_size_and_time_of_checkpoints(
    tmp_path: Path, messages: Callable[[str], list[str]]
) -> None:
    job = Job(tmp_path)
    job.resume()
    assert messages("INFO") == [f"No checkpoint to resume from in {job.folder}: training starts from the first epoch"]
    job.train(3)
    assert messages("INFO")[-1].startswith(
        f"Checkpoint after epoch 2: {job.folder / 'checkpoint-0003.state'}, 0.0 MB in "
    )
    assert resumed(tmp_path) == 3
    assert messages("INFO") == [
        f"Resuming from {job.folder / 'checkpoint-0003.state'}: 3 epochs done, the best is epoch 2"
    ]


def test_a_host_that_does_not_write_resumes_without_changing_the_folder(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    before = Job(tmp_path).names
    reader = Job(tmp_path, writes=False)
    reader.resume()
    reader.train(1)
    assert (reader.done, reader.names) == (3, before)
    reader = Job(tmp_path / "elsewhere", writes=False)
    reader.resume()
    assert not reader.folder.exists()


def test_checkpoints_of_short_epochs_are_at_least_ten_seconds_apart_except_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    job = Job(tmp_path)
    job.resume()
    job.train(2)
    assert job.names == set()
    now += 10
    job.train(1)
    assert job.names == {"checkpoint-0003", "weights-0003"}
    now += 9
    job.train(1)
    assert job.names == {"checkpoint-0003", "weights-0003"}
    job.checkpoints.write()
    assert job.names == {"checkpoint-0003", "checkpoint-0004", "weights-0003"}
    before = (job.folder / "checkpoint-0004.state").stat()
    job.checkpoints.write()
    assert (job.folder / "checkpoint-0004.state").stat() == before


def test_checkpoints_take_at_most_two_percent_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    job = Job(tmp_path)
    job.resume()

    def slow(path: Path, content: state.State) -> None:
        nonlocal now
        now += 0.5  # once for the weights and once for the checkpoint
        write(path, content)

    write = state.write
    monkeypatch.setattr(state, "write", slow)
    now += 10
    job.train(1)
    assert job.names == {"checkpoint-0001", "weights-0001"}
    now += 49
    job.train(1)
    assert job.names == {"checkpoint-0001", "weights-0001"}
    now += 1
    job.train(1)
    assert job.names == {"checkpoint-0001", "checkpoint-0003", "weights-0001", "weights-0003"}


# ---- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoint-0003.state", "weights-0003.state"])
@pytest.mark.parametrize(
    "how", [damage, Path.unlink, lambda path: path.write_bytes(b"")], ids=["bit flip", "missing", "empty"]
)
def test_a_damaged_checkpoint_or_weight_file_is_skipped_with_a_warning(
    name: str, how: Callable[[Path], object], tmp_path: Path, messages: Callable[[str], list[str]]
) -> None:
    job = trained(tmp_path, 3)
    how(job.folder / name)
    job = Job(tmp_path)
    job.resume()
    missing = (how, name) == (Path.unlink, "checkpoint-0003.state")  # there is no trace of this checkpoint
    assert job.done == 2
    assert [name in line for line in messages("WARNING")] == ([] if missing else [True])
    job.train(3)
    assert job.names == {"checkpoint-0004", "checkpoint-0005", "weights-0003", "weights-0005"}
    assert resumed(tmp_path) == 5


def test_a_damaged_checkpoint_does_not_count_as_one_of_the_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(trained(tmp_path, 3).folder / "checkpoint-0003.state")
    job = Job(tmp_path)
    job.resume()
    monkeypatch.setattr(checkpoints, "_MIN_INTERVAL", 1000)
    job.train(3)
    job.checkpoints.write()
    assert job.names == {"checkpoint-0002", "checkpoint-0005", "weights-0001", "weights-0005"}


def test_training_starts_from_the_first_epoch_if_all_checkpoints_are_damaged(
    tmp_path: Path, messages: Callable[[str], list[str]]
) -> None:
    job = trained(tmp_path, 5)
    for path in job.folder.glob("checkpoint-*"):
        damage(path)
    job = Job(tmp_path)
    job.resume()
    assert job.done == 0
    assert len(messages("WARNING")) == 2
    job.train(1)
    assert resumed(tmp_path) == 1


def test_a_checkpoint_of_another_version_is_rejected_naming_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(state, "VERSION", 2)
        trained(tmp_path, 1)
    with pytest.raises(
        UserError, match=r"has format version 2, .* reads version 1: use the image that wrote it, or train "
    ):
        Job(tmp_path).resume()


# ---- a kill at any moment ----------------------------------------------------------------------------------------


def killed(count: int, base: Path) -> bool:
    """Train to four epochs in a process that dies at the `count`th disk operation. Return whether it died."""
    process = os.fork()
    if process == 0:
        remaining = count

        def or_die(call: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*arguments: Any, **options: Any) -> Any:
                nonlocal remaining
                remaining -= 1
                if remaining == 0:
                    os._exit(9)
                return call(*arguments, **options)

            return counted

        for name in ("fsync", "replace", "unlink", "mkdir"):
            setattr(os, name, or_die(getattr(os, name)))
        job = Job(base, kept=(2, 4))
        job.resume()
        job.train(4 - job.done)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9


def test_a_kill_at_any_moment_loses_only_the_current_epoch(tmp_path: Path) -> None:
    reached = []
    for count in range(1, 200):
        base = tmp_path / str(count)
        if not killed(count, base):
            break
        reached.append(resumed(base, kept=(2, 4)))
        assert not list((base / "checkpoints").glob(".*"))  # unfinished files
        assert not killed(1000, base)
        expected = {"checkpoint-0003", "checkpoint-0004", "weights-0002", "weights-0003", "weights-0004"}
        older = Job(base).names - expected
        assert expected <= Job(base).names
        assert reached[-1] == 4 or not older  # nothing is removed after the last epoch
    assert reached == sorted(reached)
    assert set(reached) == {0, 1, 2, 3, 4}
    assert len(reached) > 20


# ---- failing writes ----------------------------------------------------------------------------------------------


def test_a_full_folder_gives_a_warning_and_the_next_epoch_tries_again(
    tmp_path: Path, messages: Callable[[str], list[str]]
) -> None:
    job = trained(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        job.train(1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (line,) = messages("WARNING")
    name = job.folder / "checkpoint-0002.state"
    assert line.startswith(f"No checkpoint after epoch 1, the job continues without one: {name} could not be written: ")
    assert job.names == {"checkpoint-0001", "weights-0001"}
    assert resumed(tmp_path) == 1
    job.train(1)
    assert resumed(tmp_path) == 3


def test_a_folder_that_cannot_be_created_gives_a_warning_at_the_start_and_each_epoch(
    tmp_path: Path, messages: Callable[[str], list[str]]
) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    job = Job(tmp_path)
    job.resume()
    assert messages("WARNING") == [f"Checkpoints cannot be written to {tmp_path / 'checkpoints'}: File exists"]
    job.train(2)
    assert len(messages("WARNING")) == 2


# ---- another job -------------------------------------------------------------------------------------------------


def changed(**changes: Any) -> dict[str, Any]:
    """Return the job's identity with changed hyperparameters or other values (with underscores for blanks)."""
    names = {name.replace("_", " ") for name in changes} & OWN.keys()
    hyperparameters = {name: value for name, value in changes.items() if name.replace("_", " ") not in names}
    return {
        **OWN,
        **{name: changes[name.replace(" ", "_")] for name in names},
        "hyperparameters": {**OWN["hyperparameters"], **hyperparameters},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "resnet50"}, "network: resnet18 in the checkpoint, resnet50 in this job"),
        ({"training_images": 301}, "training images: 300 in the checkpoint, 301 in this job"),
        ({"validation_images": 29}, "validation images: 30 in the checkpoint, 29 in this job"),
        ({"classes": ["cat", "dog", "fish"]}, "classes: 2 in the checkpoint, 3 in this job"),
        ({"classes": ["cat", "fish"]}, "class 1: dog in the checkpoint, fish in this job"),
        ({"optimizer": "adam"}, "hyperparameter optimizer: sgd in the checkpoint, adam in this job"),
    ],
)
def test_a_checkpoint_of_another_job_is_rejected_with_both_values(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    trained(tmp_path, 1)
    before = Job(tmp_path).names
    with pytest.raises(UserError) as error:
        Job(tmp_path, changed(**change)).resume()
    path = tmp_path / "checkpoints" / "checkpoint-0001.state"
    assert str(error.value).startswith(
        f"the checkpoint {path} belongs to another job: {message}. Restore the old values, or "
    )
    assert Job(tmp_path).names == before


def test_one_message_names_all_differences(tmp_path: Path) -> None:
    trained(tmp_path, 1)
    with pytest.raises(UserError, match=r"resnet50 in this job; training images: .*; hyperparameter optimizer: "):
        Job(tmp_path, changed(network="resnet50", training_images=3, optimizer="adam")).resume()


def test_epochs_and_learning_rate_may_change_and_the_change_is_logged(
    tmp_path: Path, messages: Callable[[str], list[str]]
) -> None:
    trained(tmp_path, 1)
    messages("INFO")
    assert resumed(tmp_path, own=changed(epochs=9, learning_rate=0.01, lr_scheduler_step=())) == 1
    assert messages("INFO")[:3] == [
        "epochs changed from 3 to 9",
        "learning_rate changed from 0.1 to 0.01",
        "lr_scheduler_step changed from 10,20 to none",
    ]


def test_a_new_hyperparameter_does_not_make_it_another_job(tmp_path: Path) -> None:
    trained(tmp_path, 1)
    assert resumed(tmp_path, own=changed(new="value")) == 1


def test_all_changeable_hyperparameters_exist() -> None:
    from train.image_classification.hyperparameters import Hyperparameters as Classifier
    from train.semantic_segmentation.hyperparameters import Hyperparameters as Segmenter

    known = {name for algorithm in (Classifier, Segmenter) for name in algorithm.__dataclass_fields__}
    assert known >= identity.FREE


# ---- the folder's path -------------------------------------------------------------------------------------------


def configured(base: Path, content: str | None) -> Path:
    """Write checkpointconfig.json unless `content` is None, and return `base`."""
    (base / "input" / "config").mkdir(parents=True)
    if content is not None:
        (base / "input" / "config" / "checkpointconfig.json").write_text(content)
    return base


def test_a_job_without_configuration_and_folder_has_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoints.folder(configured(tmp_path, None)) is None


def test_an_existing_folder_is_used_without_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    assert checkpoints.folder(configured(tmp_path, None)) == tmp_path / "checkpoints"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"LocalPath": "/mnt/kept"}', "/mnt/kept"),
        ("{}", "BASE/checkpoints"),
        ('{"LocalPath": ""}', "BASE/checkpoints"),
    ],
)
def test_checkpointconfig_sets_the_folder(content: str, expected: str, tmp_path: Path) -> None:
    folder = checkpoints.folder(configured(tmp_path, content))
    assert str(folder) == expected.replace("BASE", str(tmp_path))


@pytest.mark.parametrize("content", ['{"LocalPath": 3}', '{"LocalPath": "checkpoints"}', "[]", "{"])
def test_an_invalid_checkpointconfig_is_rejected_by_name(content: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checkpointconfig\.json.*\{\"LocalPath\": \"/opt/ml/checkpoints\"\}"):
        checkpoints.folder(configured(tmp_path, content))
    assert json.loads(json.dumps(configuration.EXAMPLES["checkpointconfig.json"]))


def test_the_stop_message_before_resumed_training_mentions_the_checkpoints(tmp_path: Path) -> None:
    job = Job(configured(tmp_path, None))
    job.resume()
    checkpoints.folder(tmp_path)
    assert stop._exit_message == ["no model"]
    job.train(1)
    checkpoints.folder(tmp_path)
    stop.add_to_exit_message("More.")
    assert stop._exit_message == [
        f"before training resumed: the checkpoints in {job.folder} are kept, and the next job resumes from them.",
        "More.",
    ]
