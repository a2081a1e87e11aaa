"""What an epoch is in every algorithm: a step for each batch, read one batch behind, and the time left."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol, TypeVar, TypeVarTuple

from train.job import stop
from train.log import duration

R = TypeVar("R")
B_co = TypeVar("B_co", covariant=True)
Arrays = TypeVarTuple("Arrays")


class Batches(Sized, Protocol[B_co]):
    """The training data: as many batches an epoch as its length says."""

    def epoch(self, number: int) -> Iterator[B_co]:
        """Yield the batches of an epoch, from 0."""
        ...


def steps(batches: Iterable[tuple[*Arrays]], step: Callable[[*Arrays], R]) -> Iterator[tuple[int, tuple[*Arrays], R]]:
    """Yield (number, batch, step(*batch)) for each batch in order, numbers from 0. Raises Stopped.

    One batch stays under way while the last one's result is read: the framework computes, Python prepares.
    """
    under_way: tuple[int, tuple[*Arrays], R] | None = None
    for number, batch in enumerate(batches):
        stop.check()
        current = number, batch, step(*batch)
        if under_way is not None:
            yield under_way
        under_way = current
    if under_way is not None:
        yield under_way


def time_left(start: float, done: int, total: int) -> str:
    """Return as `H:MM:SS` what is left of `total` batches, when `done` of them took from `start` (monotonic) to now."""
    return duration((time.monotonic() - start) / done * (total - done))
