"""An epoch: a step for each batch, read one batch behind, and what its log lines say of it."""

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
    """Return the values: the mean over one host."""
    return values


class Batches(Sized, Protocol[B_co]):
    """The training data: as many batches an epoch as its length says."""

    def epoch(self, number: int) -> Iterator[B_co]:
        """Yield the batches of an epoch, from 0."""
        ...


class Clock:
    """The time that a job's batches take, of which follows what is left."""

    def __init__(self, batches: int) -> None:
        """`batches` are all of the job that are still to be done."""
        self._all, self._start = batches, time.monotonic()

    def left(self, done: int) -> str:
        """Return as `H:MM:SS` the time for the rest, when `done` batches are done by now."""
        return duration((time.monotonic() - self._start) / done * (self._all - done))


class Epoch:
    """One pass over the training data, from 0: what is measured of it so far."""

    def __init__(self, number: int, batch_size: int, done: int, clock: Clock) -> None:
        """`done` batches of the job came before, of which `clock` knows."""
        self.number, self.count = number, 0
        self._size, self._done, self._clock = batch_size, done, clock
        self._start = self._marked = time.monotonic()
        self._marked_at = 0
        self._values: dict[str, list[NDArray[Any]]] = {}
        self.metrics: dict[str, float] = {}
        """Means by name and the throughput in samples/s, when all batches are done."""

    def add(self, values: dict[str, NDArray[Any]]) -> None:
        """Count a batch, with what was measured of it."""
        self.count += 1
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def close(self, mean: Mean = single_host) -> None:
        """All batches are done; `mean` averages what is measured over the hosts, each of which knows its own speed."""
        means = mean(np.array([self.mean(name) for name in self._values]))
        self.metrics = dict(zip(self._values, means.tolist(), strict=True)) | {"throughput": self.rate}

    def mean(self, name: str) -> float:
        """Return the mean of a metric over the batches so far."""
        return float(np.concatenate(self._values[name]).mean())

    @property
    def samples(self) -> int:
        """How many samples are done."""
        return self.count * self._size

    @property
    def seconds(self) -> float:
        """The time since the epoch began."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Samples per second since the epoch began."""
        return self.samples / self.seconds

    def recent_rate(self) -> float:
        """Return samples per second since the last call."""
        now = time.monotonic()
        rate = (self.count - self._marked_at) * self._size / (now - self._marked)
        self._marked, self._marked_at = now, self.count
        return rate

    @property
    def time_left(self) -> str:
        """The time left of the whole job, as `H:MM:SS`."""
        return self._clock.left(self._done + self.count)


def steps(batches: Iterable[B], step: Callable[..., R]) -> Iterator[tuple[B, R]]:
    """Yield (batch, step(*batch)) for each batch in order. Raises Stopped.

    One batch stays under way while the last one's result is read: the framework computes, Python prepares.
    """
    under_way: tuple[B, R] | None = None
    for batch in batches:
        stop.check()
        current = batch, step(*batch)
        if under_way is not None:
            yield under_way
        under_way = current
    if under_way is not None:
        yield under_way
