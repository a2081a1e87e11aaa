"""What an epoch is in every algorithm: a step for each batch, read one batch behind, and the time left."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from train import stop
from train.log import duration

R = TypeVar("R")
B = TypeVar("B", bound=tuple)


def steps(batches: Iterable[B], step: Callable[..., R]) -> Iterator[tuple[int, B, R]]:
    """Yield (number, batch, step(*batch)) for each batch in order, numbers from 0. Raises Stopped.

    One batch stays under way while the last one's result is read: the framework computes, Python prepares.
    """
    under_way = None
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
