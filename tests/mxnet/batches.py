"""Stand-ins around a training loop: batches without pictures, results and a clock that a test sets, the log's lines."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from train.log import LOG


class Clock:
    """Replaces time.monotonic for one test; it stands still until `now`, in seconds, is changed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


class Late:
    """One result of a training step, ones (8,), that takes `seconds` of the clock to compute."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    def sum(self) -> "Late":
        """Return the sum, still to be computed."""
        return self

    def asscalar(self) -> float:
        """Compute the sum: 8."""
        self._clock.now += self._seconds
        return 8.0


class Batches:
    """`count` batches of 8 samples of class 0, without pictures."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def epoch(self, number: int) -> Iterator[tuple[None, np.ndarray]]:
        """Yield the batches of an epoch, as (images, labels)."""
        return ((None, np.zeros(8, int)) for _ in range(self._count))


@contextmanager
def log_lines() -> Iterator[list[str]]:
    """Collect the lines of the job's log, without their prefix, while the block runs."""
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
