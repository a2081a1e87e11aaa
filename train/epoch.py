"""One epoch of training: run a step for each batch, and measure metrics and speed."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.job import stop
from train.log import duration

B = TypeVar("B", bound=tuple[Any, ...])
B_co = TypeVar("B_co", covariant=True)
R = TypeVar("R")


Mean = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def single_host(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values unchanged: the mean over a single host."""
    return values


class Batches(Sized, Protocol[B_co]):
    """The training data. Its length is the number of batches per epoch."""

    def epoch(self, number: int) -> Iterator[B_co]:
        """Yield the batches of epoch `number`, counted from 0."""
        ...


class Clock:
    """Estimates the remaining time of a job."""

    def __init__(self, batches: int) -> None:
        """Start the clock; `batches` is the number of remaining batches in the job."""
        self._all, self._start = batches, time.monotonic()

    def left(self, done: int) -> str:
        """Return the remaining time as `H:MM:SS`, given that `done` batches are done."""
        return duration((time.monotonic() - self._start) / done * (self._all - done))


class Epoch:
    """The measurements of one pass over the training data. Epochs count from 0."""

    def __init__(self, number: int, batch_size: int, done: int, clock: Clock) -> None:
        """Start an epoch; `done` batches were trained since `clock` was started."""
        self.number, self.count = number, 0
        self._size, self._done, self._clock = batch_size, done, clock
        self._start = self._marked = time.monotonic()
        self._marked_at = 0
        self._values: dict[str, list[NDArray[Any]]] = {}
        self.metrics: dict[str, float] = {}
        """The mean of each metric and the throughput in samples/s, set when all batches are done."""

    def add(self, values: dict[str, NDArray[Any]]) -> None:
        """Add a batch with its measured values."""
        self.count += 1
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def close(self, mean: Mean = single_host) -> None:
        """Compute the metrics after the last batch. `mean` averages them across the hosts, except the throughput."""
        means = mean(np.array([self.mean(name) for name in self._values]))
        self.metrics = dict(zip(self._values, means.tolist(), strict=True)) | {"throughput": self.rate}

    def mean(self, name: str) -> float:
        """Return the mean of a metric over the batches so far."""
        return float(np.concatenate(self._values[name]).mean())

    @property
    def samples(self) -> int:
        """The number of samples trained so far."""
        return self.count * self._size

    @property
    def seconds(self) -> float:
        """The time since the epoch started, in seconds."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Samples per second since the epoch started."""
        return self.samples / self.seconds

    def recent_rate(self) -> float:
        """Return the samples per second since the last call."""
        now = time.monotonic()
        rate = (self.count - self._marked_at) * self._size / (now - self._marked)
        self._marked, self._marked_at = now, self.count
        return rate

    @property
    def time_left(self) -> str:
        """The remaining time of the whole job as `H:MM:SS`."""
        return self._clock.left(self._done + self.count)


def steps(batches: Iterable[B], step: Callable[..., R]) -> Iterator[tuple[B, R]]:
    """Yield (batch, step(*batch)) for each batch in order. Raises Stopped.

    Results are yielded one step late, so that the framework computes while Python reads the previous result.
    """
    pending: tuple[B, R] | None = None
    for batch in batches:
        stop.check()
        current = batch, step(*batch)
        if pending is not None:
            yield pending
        pending = current
    if pending is not None:
        yield pending
