"""The loop over epochs, tested with a simple learner: each step adds its batch to a sum."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train.epoch import Epoch
from train.errors import Diverged
from train.hyperparameter_types import CommonHyperparameters
from train.image_classification.hyperparameters import check
from train.job import stop
from train.learner import Best, Evaluated, Learner, Lines, Measured, Step
from train.state import State, read, write
from train.trainer import Trainer


@pytest.fixture(autouse=True)
def _no_stop_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "_state", {"requested": False, "keeping": False})


class Batches:
    """Two batches per epoch. Each holds the numbers of the epoch and the batch."""

    def __len__(self) -> int:
        return 2

    def epoch(self, number: int) -> Iterator[tuple[int, int]]:
        yield from ((number, 0), (number, 1))


class Sum(Step[tuple[int, int], int]):
    """A step that adds up all batches. `losses` sets the loss of some."""

    def __init__(self) -> None:
        self.sum, self.epochs = 0.0, []
        self.losses: dict[tuple[int, int], float] = {}

    @property
    def learning_rate(self) -> float:
        return 0.25

    def begin(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __call__(self, epoch: int, number: int) -> float:
        self.sum += 10 * epoch + number
        return self.losses.get((epoch, number), 1.0)

    def read(self, batch: tuple[int, int], result: float) -> Measured:
        return Measured(result, {"loss": np.array([result])})

    def state(self) -> State:
        return {"sum": self.sum}

    def restore(self, state: State) -> None:
        self.sum = state["sum"]


@dataclass
class CallLines(Lines[str]):
    """A stand-in for a job's log lines that records the calls in order."""

    calls: list[str] = field(default_factory=list)
    every = 1

    def started(self, batches: int) -> None:
        self.calls.append(f"started {batches}")

    def speed(self, epoch: Epoch, learning_rate: float) -> None:
        self.calls.append(f"speed {epoch.number} {epoch.count} {learning_rate}")

    def trained(self, epoch: Epoch) -> None:
        self.calls.append(f"trained {epoch.number} {epoch.metrics['loss']}")

    def evaluated(self, epoch: Epoch, result: Evaluated[str], seconds: float) -> None:
        self.calls.append(f"evaluated {epoch.number} {result.value}")

    def improved(self, best: Best[str]) -> None:
        self.calls.append(f"improved {best.epoch}")

    def ended(self, epoch: Epoch) -> None:
        self.calls.append(f"ended {epoch.number}")


@dataclass
class Folder:
    """A model folder that records what it should write, and can stop the job after an epoch."""

    saved: list[tuple[int, bool, int | None]] = field(default_factory=list)
    stop_after: int | None = None

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        self.saved.append((epoch, improved, before))
        if epoch == self.stop_after:
            stop._state["requested"] = True


def hyperparameters(**changes: Any) -> CommonHyperparameters:
    """Return the hyperparameters of a job of three epochs."""
    values = {"num_classes": 2, "num_training_samples": 8, "resize": 224, "epochs": 3, "mini_batch_size": 4} | changes
    return check({name: str(value) for name, value in values.items()})


class Job:
    """A trainer whose evaluations return these values, or raise them if they are exceptions."""

    def __init__(self, *values: float | Exception, stop_after: int | None = None, **changes: Any) -> None:
        self.step, self.lines, self.folder = Sum(), CallLines(), Folder(stop_after=stop_after)
        self.values = list(values)
        learner = Learner(Batches(), self.step, self.evaluate, self.lines)
        self.trainer = Trainer(learner, hyperparameters(**changes), self.folder)

    def evaluate(self) -> Evaluated[str]:
        value = self.values.pop(0)
        if isinstance(value, Exception):
            raise value
        return Evaluated(value, {"score": value}, f"predictions of {value}")


def test_the_lines_of_an_epoch_are_logged_in_order() -> None:
    job = Job(0.5, epochs=1)
    job.trainer.run()
    assert job.lines.calls == [
        "started 2",
        "speed 0 1 0.25",
        "speed 0 2 0.25",
        "trained 0 1.0",
        "evaluated 0 0.5",
        "improved 0",
        "ended 0",
    ]


def test_the_best_epoch_is_kept_with_the_metrics_of_both_data_sets_and_its_predictions() -> None:
    job = Job(0.5, 0.75, 0.75)
    job.trainer.run()
    best = job.trainer.best
    assert best is not None
    assert (best.epoch, best.value, best.kept) == (1, 0.75, "predictions of 0.75")
    assert best.metrics.keys() == {"train:loss", "train:throughput", "validation:score"}
    assert job.folder.saved == [(0, True, None), (1, True, 0), (2, False, 1)]


def test_a_first_value_of_zero_is_an_improvement() -> None:
    job = Job(0.0, epochs=1)
    job.trainer.run()
    assert job.folder.saved == [(0, True, None)]


def test_a_stop_request_ends_training_before_the_next_batch() -> None:
    job = Job(0.5, 0.6, stop_after=0)
    job.trainer.run()
    assert job.step.sum == 1  # only the batches of epoch 0
    assert job.lines.calls[-1] == "ended 0"


def test_training_ends_when_the_metric_no_longer_improves() -> None:
    early = {"early_stopping": 1, "early_stopping_min_epochs": 1, "early_stopping_patience": 2, "epochs": 9}
    job = Job(0.5, 0.4, 0.3, **early)
    job.trainer.run()
    assert job.step.epochs == [0, 1, 2]


def test_a_loss_that_is_not_finite_ends_training_with_epoch_batch_and_learning_rate() -> None:
    job = Job(0.5)
    job.step.losses[1, 1] = float("nan")
    with pytest.raises(Diverged, match=r"^the loss became nan at epoch 1, batch 1, with learning_rate=0\.25: "):
        job.trainer.run()
    assert job.trainer.best is not None
    assert job.trainer.best.epoch == 0


def test_predictions_that_are_not_finite_end_training_at_the_end_of_the_epoch() -> None:
    job = Job(0.5, FloatingPointError())
    with pytest.raises(
        Diverged, match=r"^the predictions became nan at epoch 1, during validation, with learning_rate=0\.25: "
    ):
        job.trainer.run()


def test_a_trainer_that_resumes_from_a_state_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    early = {"early_stopping": 1, "early_stopping_min_epochs": 1, "early_stopping_patience": 3, "epochs": 9}
    values = (0.5, 0.75, 0.7, 0.7, 0.7)
    whole = Job(*values, **early)
    whole.trainer.run()
    first = Job(*values[:3], stop_after=2, **early)
    first.trainer.run()
    write(tmp_path / "state", first.trainer.state())
    stop._state["requested"] = False
    second = Job(*values[3:], **early)
    second.trainer.restore(read(tmp_path / "state"))
    second.trainer.run()
    assert second.step.epochs == [3, 4]
    assert second.folder.saved == whole.folder.saved[3:]
    assert without_throughput(second) == without_throughput(whole)


def test_a_restored_trainer_that_stopped_early_continues_only_with_more_patience(tmp_path: Path) -> None:
    early = {"early_stopping": 1, "early_stopping_min_epochs": 1, "early_stopping_patience": 2, "epochs": 9}
    first = Job(0.5, 0.4, 0.3, **early)
    first.trainer.run()
    again, more = Job(**early), Job(0.2, **(early | {"early_stopping_patience": 3}))
    for job in (again, more):
        job.trainer.restore(first.trainer.state())
        job.trainer.run()
    assert again.step.epochs == []
    assert more.step.epochs == [3]


def test_after_each_epoch_the_state_is_saved_once_the_folder_is_written() -> None:
    job = Job(0.5, 0.6)
    calls: list[Any] = []
    job.folder.save = lambda epoch, improved, before: calls.append(epoch)
    trainer = Trainer(
        Learner(Batches(), job.step, job.evaluate, job.lines),
        hyperparameters(epochs=2),
        job.folder,
        lambda state: calls.append((state["next"], state["best"]["epoch"], state["early_stopping"]["best"])),
    )
    trainer.run()
    assert calls == [0, (1, 0, 0.5), 1, (2, 1, 0.6)]


def test_a_restored_epoch_is_a_model_to_keep_on_a_stop_request() -> None:
    first = Job(0.5, epochs=1)
    first.trainer.run()
    stop._state["keeping"] = False
    second = Job(epochs=2)
    second.trainer.restore(first.trainer.state())
    assert stop._state["keeping"]


def without_throughput(job: Job) -> State:
    """Return the state at the end of the job, without the measured times."""
    state = job.trainer.state()
    return state | {"best": state["best"] | {"metrics": {"score": state["best"]["metrics"]["validation:score"]}}}
