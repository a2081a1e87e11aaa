"""The interface between the trainer and an algorithm: batches, a step, an evaluation, and log lines."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

from train.epoch import Batches, Epoch
from train.state import State

B = TypeVar("B", bound=tuple[Any, ...])  # a batch: several arrays
R = TypeVar("R")  # the result of a step, which the framework may still be computing
K = TypeVar("K")  # what an evaluation keeps for the final checks


@dataclass(frozen=True)
class Measured:
    """The measurements of a batch: its loss, and values, float (n,), by metric. An epoch's metric is their mean."""

    loss: float
    values: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Evaluated(Generic[K]):
    """The result of an evaluation: the value to maximise, metrics by name, and what the final checks compare."""

    value: float
    metrics: dict[str, float]
    kept: K


@dataclass(frozen=True)
class Best(Evaluated[K]):
    """The best epoch so far, counted from 0. Its metrics are named `train:NAME` and `validation:NAME`."""

    epoch: int


class Step(ABC, Generic[B, R]):
    """Updates a network, in any framework, and holds the state that the next update depends on."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The learning rate of the next update."""

    def begin(self, epoch: int) -> None:
        """Prepare for an epoch, counted from 0. A resumed job must draw the same random numbers."""

    def end(self) -> None:
        """Prepare for the evaluation, after all updates of an epoch."""

    @abstractmethod
    def __call__(self, *batch: Any) -> R:
        """Update the network on the arrays of a batch. The result may still be pending."""

    @abstractmethod
    def read(self, batch: B, result: R) -> Measured:
        """Wait for the result of an update and measure it."""

    @abstractmethod
    def state(self) -> State:
        """Return the state of parameters, optimizer and random generators between two epochs."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Resume from a state. The learning rate follows this job's hyperparameters."""


class Lines(Generic[K]):
    """The log lines of a job, in order of appearance. Subclasses write every message in full, so that grep finds it."""

    every: ClassVar[int]
    """The number of batches between two log lines about speed."""
    first: ClassVar[int] = 1
    """The number of an epoch's first batch in these lines: 0 or 1."""

    def started(self, batches: int) -> None:
        """Training starts; an epoch has `batches` batches."""

    def speed(self, epoch: Epoch, learning_rate: float) -> None:
        """More batches are done; `learning_rate` is that of the next update."""

    def trained(self, epoch: Epoch) -> None:
        """All batches of an epoch are done; it is not evaluated yet."""

    def evaluated(self, epoch: Epoch, result: Evaluated[K], seconds: float) -> None:
        """An epoch was evaluated in `seconds`."""

    def improved(self, best: Best[K]) -> None:
        """An epoch is the best so far; its weights are not written yet."""

    def saved(self, path: Path, epoch: int) -> None:
        """The weights of an epoch were written."""

    def ended(self, epoch: Epoch) -> None:
        """An epoch was evaluated and its weights were written."""

    def saved_last(self, path: Path) -> None:
        """The weights of the last epoch were written."""

    def exported(self, best: Best[K], metrics: dict[str, float]) -> None:
        """The best epoch's graph was written; `metrics` are those that only the best epoch has."""

    def finished(self, best: Best[K], folder: Path, names: str) -> None:
        """The model folder passed the checks and contains the files `names`."""

    def succeeded(self) -> None:
        """The job succeeded."""


@dataclass(frozen=True)
class Learner(Generic[B, R, K]):
    """A network and its data, ready for training.

    `evaluate` evaluates all validation samples. It raises Stopped, or FloatingPointError if a prediction is not finite.
    All epochs are trained and evaluated inside the context manager `devices()`.
    """

    batches: Batches[B]
    step: Step[B, R]
    evaluate: Callable[[], Evaluated[K]]
    lines: Lines[K]
    devices: Callable[[], AbstractContextManager[object]] = nullcontext
