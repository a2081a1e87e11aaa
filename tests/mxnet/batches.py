"""Stand-ins for a training loop: batches without pictures, a step, a clock that tests set, and captured log lines."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from train import epoch
from train.learner import Evaluated, Learner, Lines, Measured, Step
from train.log import LOG
from train.state import State
from train.trainer import train


class Clock:
    """Replaces time.monotonic in a test. It stands still until `now`, in seconds, changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


class Slow(Step[Any, None]):
    """A step that advances the clock by `seconds` for each batch and returns a loss of 1 and these values."""

    learning_rate = 0.00009876

    def __init__(self, clock: Clock, seconds: float, **values: Any) -> None:
        self._clock, self._seconds, self._values = clock, seconds, values

    def __call__(self, *batch: Any) -> None:
        pass

    def read(self, batch: Any, result: None) -> Measured:
        """Wait for a batch."""
        self._clock.now += self._seconds
        return Measured(1.0, {name: np.array(value) for name, value in self._values.items()})

    def state(self) -> State:
        raise NotImplementedError

    def restore(self, state: State) -> None:
        raise NotImplementedError


def lines_of_second_epoch(step: Slow, lines: Lines[Any], count: int) -> list[str]:
    """Return the log of the second of four epochs of `count` batches. The first epoch took no time."""

    def never() -> Evaluated[Any]:
        raise NotImplementedError

    with log_lines() as logged:
        train(Learner(Batches(count), step, never, lines), epoch.Epoch(1, 8, count, epoch.Clock(4 * count)))
    return logged


class Batches:
    """Yields `count` batches of 8 samples of class 0, without pictures."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def epoch(self, number: int) -> Iterator[tuple[None, np.ndarray]]:
        """Yield the batches of an epoch, as (images, labels)."""
        return ((None, np.zeros(8, int)) for _ in range(self._count))


@contextmanager
def log_lines() -> Iterator[list[str]]:
    """Collect the job's log lines without their prefix while the block runs."""
    lines: list[str] = []
    handler, level = logging.Handler(), LOG.level
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
