"""What the trainer needs of an algorithm: batches, a step, an evaluation, and the lines of its log."""

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
R = TypeVar("R")  # what a step returns at once, while the framework still computes
K = TypeVar("K")  # what an evaluation keeps for the closing check


@dataclass(frozen=True)
class Measured:
    """A batch after its update: its loss, and by name the values, float (n,), whose mean over an epoch is a metric."""

    loss: float
    values: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Evaluated(Generic[K]):
    """The network on the validation samples: the value to maximise, metrics by name, and what the check compares."""

    value: float
    metrics: dict[str, float]
    kept: K


@dataclass(frozen=True)
class Best(Evaluated[K]):
    """The best epoch so far, counted from 0. Its metrics are those of training, `train:NAME`, and `validation:NAME`."""

    epoch: int


class Step(ABC, Generic[B, R]):
    """One update of a network, whatever its framework, and all that the next update depends on."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The rate of the next update."""

    def begin(self, epoch: int) -> None:
        """Get ready for an epoch, from 0: random numbers must be the same ones in a resumed job."""

    def end(self) -> None:
        """All updates of an epoch are done: get ready for its evaluation."""

    @abstractmethod
    def __call__(self, *batch: Any) -> R:
        """Update the network on the arrays of a batch. The result may still be under way."""

    @abstractmethod
    def read(self, batch: B, result: R) -> Measured:
        """Wait for the result of an update, and measure it."""

    @abstractmethod
    def state(self) -> State:
        """Return parameters, optimizer and random generators, as they are between two epochs."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Go on from a state. The learning rate follows the hyperparameters of this job."""


class Lines(Generic[K]):
    """The lines of a job's log, in their order. An algorithm's own have their texts whole, so that grep finds them."""

    every: ClassVar[int]
    """Batches from one line about speed to the next."""
    first: ClassVar[int] = 1
    """The number of an epoch's first batch in those lines, 0 or 1."""

    def started(self, batches: int) -> None:
        """Training begins, with so many batches an epoch."""

    def speed(self, epoch: Epoch, learning_rate: float) -> None:
        """Some more batches are done; the next update has this rate."""

    def trained(self, epoch: Epoch) -> None:
        """An epoch has seen all batches, and is not evaluated yet."""

    def evaluated(self, epoch: Epoch, found: Evaluated[K], seconds: float) -> None:
        """An epoch is evaluated, which took `seconds`."""

    def improved(self, best: Best[K]) -> None:
        """An epoch is the best so far, and not written yet."""

    def saved(self, path: Path, epoch: int) -> None:
        """The weights of an epoch are written."""

    def ended(self, epoch: Epoch) -> None:
        """An epoch is evaluated and written."""

    def saved_last(self, path: Path) -> None:
        """The weights after the last epoch are written."""

    def exported(self, best: Best[K], metrics: dict[str, float]) -> None:
        """The best epoch's graph is written; `metrics` are those that are computed for it alone."""

    def finished(self, best: Best[K], folder: Path, names: str) -> None:
        """The model folder is checked, and holds the files `names`."""

    def succeeded(self) -> None:
        """The job has ended as it should."""


@dataclass(frozen=True)
class Learner(Generic[B, R, K]):
    """A network and its data, ready to be trained.

    `evaluate` answers all validation samples. It raises Stopped, and FloatingPointError when an answer is not finite.
    Inside `devices()` all epochs are trained and evaluated.
    """

    batches: Batches[B]
    step: Step[B, R]
    evaluate: Callable[[], Evaluated[K]]
    lines: Lines[K]
    devices: Callable[[], AbstractContextManager[object]] = nullcontext
