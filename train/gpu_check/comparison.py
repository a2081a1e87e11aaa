"""Runs of the same few updates on the CPU and elsewhere, compared: rows, a table, a verdict. No framework."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve.words import sentence
from train.job.devices import CPU, Device

LIMIT, HALF_LIMIT = 1e-3, 5e-2
"""Largest relative difference of a loss from the CPU's: in float32 without TF32, and in float16."""
UPDATES = 20
PICTURES, SIDE = 8, 64
MOST_DEVICES = 64  # more than any host has


def pictures() -> NDArray[np.float32]:
    """Return drawn pictures float32 (PICTURES, 3, SIDE, SIDE) around 0: noise over stripes, no two of them alike."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = [np.sin(2 * np.pi * (3 + number) * (x if number % 2 else y)) for number in range(PICTURES)]
    return (np.stack(waves)[:, None] + rng.normal(0, 0.3, (PICTURES, 3, SIDE, SIDE))).astype(np.float32)


@dataclass(frozen=True)
class Run:
    """What some updates gave: losses, pictures per second after the first, and the memory in use in MB, if known."""

    losses: Sequence[float]
    rate: float
    megabytes: float | None = None


@dataclass(frozen=True)
class Place:
    """Where updates are computed, and whether in float16."""

    devices: tuple[Device, ...]
    half: bool = False

    @property
    def limit(self) -> float:
        """The largest difference from the CPU that passes."""
        return HALF_LIMIT if self.half else LIMIT

    def __str__(self) -> str:
        return ",".join(map(str, self.devices)) + (" float16" if self.half else "")


@dataclass(frozen=True)
class Training:
    """How an algorithm trains a network from its first weights, on the same drawn pictures on each device.

    And whether it can in float16.
    """

    train: Callable[[Place], Run]
    has_half: bool


@dataclass(frozen=True)
class Row:
    """An algorithm at a place: its run and the largest relative difference of a loss, or what went wrong."""

    algorithm: str
    place: Place
    run: Run | None
    difference: float
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether it agrees with the CPU; a loss that is not a number does not."""
        return self.run is not None and self.difference <= self.place.limit


def places(devices: Sequence[Device], half: bool) -> list[Place]:
    """Return where to train: on each device, on each GPU in float16 too if asked for, and on all devices together."""
    found = [Place((device,)) for device in devices if device != CPU]
    if half:
        found += [Place((device,), half=True) for device in devices if device.kind == "gpu"]
    return found + ([Place(tuple(devices))] if len(devices) > 1 else [])


def compare(trainings: Mapping[str, Training], devices: Sequence[Device]) -> list[Row]:
    """Train on the CPU and at each of the `places` of these devices; return a row for each, the CPU's first."""
    rows = []
    for name, training in trainings.items():
        reference = training.train(Place((CPU,)))
        rows.append(Row(name, Place((CPU,)), reference, 0.0))
        rows += [_row(name, training, place, reference) for place in places(devices, training.has_half)]
    return rows


def _row(name: str, training: Training, place: Place, reference: Run) -> Row:
    try:
        run = training.train(place)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows still tell something
        return Row(name, place, None, float("inf"), f"{type(error).__name__}: {sentence(str(error))}")
    wanted, found = np.array(reference.losses), np.array(run.losses)
    return Row(name, place, run, float(np.max(np.abs(found - wanted) / np.abs(wanted))))


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table, to paste into an issue."""
    head = ("algorithm", "where", "first loss", "last loss", "difference", "allowed", "images/s", "MB", "")
    lines = [head, ("---",) * len(head), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    if row.run is None:
        return row.algorithm, str(row.place), *("-",) * 6, f"**failed**: {row.error}"
    first, last = (f"{row.run.losses[place]:.6f}" for place in (0, -1))
    memory = "-" if row.run.megabytes is None else f"{row.run.megabytes:.0f}"
    verdict = "passed" if row.passed else "**failed**"
    numbers = (first, last, f"{row.difference:.1e}", f"{row.place.limit:.0e}", f"{row.run.rate:.1f}", memory)
    return row.algorithm, str(row.place), *numbers, verdict if row.place.devices != (CPU,) else "the reference"
