"""Write and read checkpoints. SageMaker mirrors their folder to S3, and restores it when it restarts a job.

`checkpoint-0003.state` is the state of training after three epochs. The weights of the best epoch and of those that
`checkpoint_frequency` keeps are stored separately and written only once, to files like `weights-0002.state`. The two
most recent checkpoints and their weights are kept, in case the newest one is damaged.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from serve.words import plural
from train import state
from train.errors import TrainError, UserError
from train.files import replace
from train.job import configuration, identity, stop
from train.log import LOG
from train.state import State

_CHECKPOINT, _WEIGHTS = "checkpoint-{:04d}.state", "weights-{:04d}.state"
# A checkpoint is written after an epoch if the last one is at least _MIN_INTERVAL seconds old, so that SageMaker can
# copy each one to S3, and if writing takes at most _MAX_SHARE of the time since then.
_MIN_INTERVAL, _MAX_SHARE = 10.0, 0.02
_NAMES = {pattern: re.compile(pattern.replace("{:04d}", r"(\d{4,})")) for pattern in (_CHECKPOINT, _WEIGHTS)}


def folder(base: Path) -> Path | None:
    """Return the checkpoint folder of the job in `base`, or None if it has none.

    If the folder has checkpoints, the message for an early stop request mentions them. Raises UserError.
    """
    checkpoint_folder = configuration.checkpoint_folder(base)
    if checkpoint_folder is not None and _numbers(checkpoint_folder, _CHECKPOINT):
        stop.keep_checkpoints(checkpoint_folder)
    return checkpoint_folder


@dataclass(frozen=True)
class Checkpoint:
    """An intact checkpoint: the trainer's state, and for each epoch, from 1, a function that writes its weight file."""

    state: State
    weights: dict[int, Callable[[Path], object]]


class Checkpoints:
    """Reads and writes the checkpoints of a job in `folder`, which may be missing. `own` is the job's identity.

    All hosts read checkpoints. Only the first host writes them; on the other hosts, `writes` is False.
    """

    def __init__(self, folder: Path, own: Mapping[str, Any], writes: bool = True) -> None:
        self._folder, self._own, self._writes = folder, identity.plain(own), writes
        self._last, self._weights = 0, set[int]()  # the last intact checkpoint, and the epochs of its weight files
        self._pending: tuple[State, Mapping[int, Path]] | None = None
        self._written, self._duration = time.monotonic(), 0.0  # when the last one was written, and how long it took

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, or None if there is none, and log which one.

        Raises UserError if it belongs to another job or to another version of this program.
        """
        if self._writes:
            self._prepare()
        for number in sorted(_numbers(self._folder, _CHECKPOINT), reverse=True):
            try:
                checkpoint = self._read(number)
            except state.OtherVersion as error:
                raise UserError(f"{error}: use the image that wrote it, or {identity.FROM_THE_FIRST_EPOCH}") from None
            except (OSError, ValueError) as error:
                LOG.warning("Skipping a checkpoint: %s", error)
                continue
            done, best = plural(number, "epoch"), checkpoint.state["best"]["epoch"]
            LOG.info("Resuming from %s: %s done, the best is epoch %d", self._path(_CHECKPOINT, number), done, best)
            return checkpoint
        LOG.info("No checkpoint to resume from in %s: training starts from the first epoch", self._folder)
        return None

    def save(self, trained: State, weights: Callable[[int, int], Mapping[int, Path]]) -> None:
        """Keep a trainer's state and the weight files that `weights` returns, and write them if a checkpoint is due."""
        self._pending = (trained, weights(trained["next"], trained["best"]["epoch"])) if self._writes else None
        if time.monotonic() - self._written >= max(_MIN_INTERVAL, self._duration / _MAX_SHARE):
            self.write()

    def write(self) -> None:
        """Write the last saved state unless it is already written. An error is logged and does not end the job."""
        if self._pending is None:
            return
        (trained, files), self._pending = self._pending, None
        start = time.monotonic()
        self._write_all(trained, files)
        self._written = time.monotonic()
        self._duration = self._written - start

    def _write_all(self, trained: State, files: Mapping[int, Path]) -> None:
        number, start = trained["next"], time.monotonic()
        path = self._path(_CHECKPOINT, number)
        self._remove(_CHECKPOINT, lambda existing: existing > self._last)  # those that were skipped at the start
        try:
            for epoch in files.keys() - self._weights:
                self._write(self._path(_WEIGHTS, epoch), {"file": np.fromfile(files[epoch], np.uint8)})
            self._write(path, {"identity": self._own, "weights": sorted(files), "trained": trained})
        except (OSError, TrainError) as error:
            LOG.warning("No checkpoint after epoch %d, the job continues without one: %s", number - 1, error)
            return
        self._remove(_CHECKPOINT, lambda existing: existing not in (self._last, number))
        self._remove(_WEIGHTS, lambda existing: existing not in self._weights | files.keys())
        self._last, self._weights = number, set(files)
        size = path.stat().st_size / 1e6
        LOG.info("Checkpoint after epoch %d: %s, %.1f MB in %.2f s", number - 1, path, size, time.monotonic() - start)

    def _write(self, path: Path, content: State) -> None:
        replace(path, lambda temporary: state.write(temporary, content))

    def _prepare(self) -> None:
        """Create the folder and remove the incomplete files of a killed process; warn if it is not writable."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob(".*.state.part"):
                path.unlink()
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            LOG.warning("Checkpoints cannot be written to %s: %s", self._folder, error.strerror or error)

    def _read(self, number: int) -> Checkpoint:
        """Return a checkpoint. Raises ValueError or OSError if it or one of its weight files is damaged."""
        path = self._path(_CHECKPOINT, number)
        content = state.read(path)
        files = {epoch: self._path(_WEIGHTS, epoch) for epoch in content["weights"]}
        for file in files.values():
            state.check(file)
        identity.check(path, content["identity"], self._own)
        self._last, self._weights = number, set(files)
        return Checkpoint(content["trained"], {epoch: partial(_unpack, file) for epoch, file in files.items()})

    def _remove(self, pattern: str, unneeded: Callable[[int], bool]) -> None:
        for number in filter(unneeded, _numbers(self._folder, pattern)):
            with suppress(OSError):  # a leftover file only takes up space
                self._path(pattern, number).unlink()

    def _path(self, pattern: str, number: int) -> Path:
        return self._folder / pattern.format(number)


def _numbers(folder: Path, pattern: str) -> set[int]:
    """Return the numbers in the names of the existing files of one kind."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    return {int(match[1]) for name in names if (match := _NAMES[pattern].fullmatch(name))}


def _unpack(file: Path, path: Path) -> None:
    """Write the weights stored in `file` to `path`."""
    path.write_bytes(state.read(file)["file"])
