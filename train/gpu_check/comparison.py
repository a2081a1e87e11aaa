"""Compare the losses of the same updates on the CPU and on other devices. Imports no framework."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve.words import sentence
from train.job.devices import CPU, Device

LIMIT, HALF_LIMIT = 1e-3, 5e-2
"""The largest allowed relative difference of a loss from the CPU's: in float32 without TF32, and in float16."""
UPDATES = 20
PICTURES, SIDE = 8, 64
MAX_DEVICES = 64  # more than any host has


def pictures() -> NDArray[np.float32]:
    """Return generated pictures, float32 (PICTURES, 3, SIDE, SIDE) with mean 0: different stripes with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = [np.sin(2 * np.pi * (3 + number) * (x if number % 2 else y)) for number in range(PICTURES)]
    return (np.stack(waves)[:, None] + rng.normal(0, 0.3, (PICTURES, 3, SIDE, SIDE))).astype(np.float32)


@dataclass(frozen=True)
class Run:
    """The result of some updates: losses, pictures per second after the first update, and memory in MB, if known."""

    losses: Sequence[float]
    rate: float
    megabytes: float | None = None


@dataclass(frozen=True)
class Place:
    """The devices that compute updates, and whether they use float16."""

    devices: tuple[Device, ...]
    half: bool = False

    @property
    def limit(self) -> float:
        """The largest allowed difference from the CPU."""
        return HALF_LIMIT if self.half else LIMIT

    def __str__(self) -> str:
        return ",".join(map(str, self.devices)) + (" float16" if self.half else "")


@dataclass(frozen=True)
class Training:
    """A function that trains an algorithm's network on the same pictures on each device.

    `has_half` says whether the algorithm supports float16.
    """

    train: Callable[[Place], Run]
    has_half: bool


@dataclass(frozen=True)
class Row:
    """A row of the table: a run of an algorithm and the largest relative difference of its losses, or the error."""

    algorithm: str
    place: Place
    run: Run | None
    difference: float
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether the losses agree with the CPU's. A NaN does not."""
        return self.run is not None and self.difference <= self.place.limit


def places(devices: Sequence[Device], half: bool) -> list[Place]:
    """Return where to train: on each device, on each GPU in float16 if `half`, and on all devices together."""
    result = [Place((device,)) for device in devices if device != CPU]
    if half:
        result += [Place((device,), half=True) for device in devices if device.kind == "gpu"]
    return result + ([Place(tuple(devices))] if len(devices) > 1 else [])


def compare(trainings: Mapping[str, Training], devices: Sequence[Device]) -> list[Row]:
    """Train on the CPU and in each of the `places`. Return a row for each; the CPU's is first for each algorithm."""
    rows = []
    for name, training in trainings.items():
        reference = training.train(Place((CPU,)))
        rows.append(Row(name, Place((CPU,)), reference, 0.0))
        rows += [_row(name, training, place, reference) for place in places(devices, training.has_half)]
    return rows


def _row(name: str, training: Training, place: Place, reference: Run) -> Row:
    try:
        run = training.train(place)
    except Exception as error:  # noqa: BLE001 - the other rows are still useful
        return Row(name, place, None, float("inf"), f"{type(error).__name__}: {sentence(str(error))}")
    expected, losses = np.array(reference.losses), np.array(run.losses)
    return Row(name, place, run, float(np.max(np.abs(losses - expected) / np.abs(expected))))


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ("algorithm", "where", "first loss", "last loss", "difference", "allowed", "images/s", "MB", "")
    lines = [head, ("---",) * len(head), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    if row.run is None:
        return (row.algorithm, str(row.place), "-", "-", "-", "-", "-", "-", f"**failed**: {row.error}")
    first, last = (f"{row.run.losses[index]:.6f}" for index in (0, -1))
    memory = "-" if row.run.megabytes is None else f"{row.run.megabytes:.0f}"
    verdict = "passed" if row.passed else "**failed**"
    numbers = (first, last, f"{row.difference:.1e}", f"{row.place.limit:.0e}", f"{row.run.rate:.1f}", memory)
    return row.algorithm, str(row.place), *numbers, verdict if row.place.devices != (CPU,) else "the reference"
