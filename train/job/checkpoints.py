"""The folder of checkpoints, which SageMaker mirrors to S3 file by file and gives to a job that it starts again.

`checkpoint-0003.state` is all that training depends on after three epochs, without the weights of the best epoch and of
those that `checkpoint_frequency` keeps: each of them is written once, to a file like `weights-0002.state`. Two
checkpoints are kept, with the weights that they need: the older one is there when the newest is damaged.
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
# Written after an epoch when so many seconds are over since the last one, so that SageMaker can copy each to S3, and
# when it takes at most this share of the time since then.
_APART, _SHARE = 10.0, 0.02
_NAMES = {pattern: re.compile(pattern.replace("{:04d}", r"(\d{4,})")) for pattern in (_CHECKPOINT, _WEIGHTS)}


def folder(base: Path) -> Path | None:
    """Return the folder of checkpoints of the job under `base`, None where it has none.

    Where one is there, a stop request before training goes on says so. Raises UserError.
    """
    found = configuration.checkpoint_folder(base)
    if found is not None and _numbers(found, _CHECKPOINT):
        stop.keep_checkpoints(found)
    return found


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole: the trainer's state, and by epoch, from 1, what writes its file of weights."""

    state: State
    weights: dict[int, Callable[[Path], object]]


class Checkpoints:
    """Reads and writes the checkpoints of a job in `folder`, which may be missing. `own` is the job's identity.

    Of several hosts all read them, and the first one alone writes: for the others `writes` is False.
    """

    def __init__(self, folder: Path, own: Mapping[str, Any], writes: bool = True) -> None:
        self._folder, self._own, self._writes = folder, identity.plain(own), writes
        self._last, self._weights = 0, set[int]()  # the number of the last whole checkpoint, and those of its weights
        self._waiting: tuple[State, Mapping[int, Path]] | None = None
        self._tried, self._took = time.monotonic(), 0.0  # when one was written last, and for how long

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, None where there is none, and log which.

        Raises UserError for one of another job, or of another version of this program.
        """
        if self._writes:
            self._prepare()
        for number in sorted(_numbers(self._folder, _CHECKPOINT), reverse=True):
            try:
                found = self._read(number)
            except state.OtherVersion as error:
                raise UserError(f"{error}: use the image that wrote it, or {identity.FROM_THE_FIRST_EPOCH}") from None
            except (OSError, ValueError) as error:
                LOG.warning("A checkpoint is passed over: %s", error)
                continue
            done, best = plural(number, "epoch"), found.state["best"]["epoch"]
            LOG.info("Resuming from %s: %s done, the best is epoch %d", self._path(_CHECKPOINT, number), done, best)
            return found
        LOG.info("No checkpoint to resume from in %s: training starts from the first epoch", self._folder)
        return None

    def save(self, trained: State, weights: Callable[[int, int], Mapping[int, Path]]) -> None:
        """Note a trainer's state and the files that `weights`, its model folder's, returns; write it if it is time."""
        self._waiting = (trained, weights(trained["next"], trained["best"]["epoch"])) if self._writes else None
        if time.monotonic() - self._tried >= max(_APART, self._took / _SHARE):
            self.write()

    def write(self) -> None:
        """Write the state that was noted last, unless it is written; what fails costs a warning, and not the job."""
        if self._waiting is None:
            return
        (trained, files), self._waiting = self._waiting, None
        began = time.monotonic()
        self._write_all(trained, files)
        self._tried = time.monotonic()
        self._took = self._tried - began

    def _write_all(self, trained: State, files: Mapping[int, Path]) -> None:
        number, began = trained["next"], time.monotonic()
        path = self._path(_CHECKPOINT, number)
        self._remove(_CHECKPOINT, lambda each: each > self._last)  # those that were passed over when the job began
        try:
            for each in files.keys() - self._weights:
                self._write(self._path(_WEIGHTS, each), {"file": np.fromfile(files[each], np.uint8)})
            self._write(path, {"identity": self._own, "weights": sorted(files), "trained": trained})
        except (OSError, TrainError) as error:
            LOG.warning("No checkpoint after epoch %d, and the job goes on without: %s", number - 1, error)
            return
        self._remove(_CHECKPOINT, lambda each: each not in (self._last, number))
        self._remove(_WEIGHTS, lambda each: each not in self._weights | files.keys())
        self._last, self._weights = number, set(files)
        size = path.stat().st_size / 1e6
        LOG.info("Checkpoint after epoch %d: %s, %.1f MB in %.2f s", number - 1, path, size, time.monotonic() - began)

    def _write(self, path: Path, content: State) -> None:
        replace(path, lambda temporary: state.write(temporary, content))

    def _prepare(self) -> None:
        """Make the folder and remove what a killed process had begun; warn where nothing can be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob(".*.state.part"):
                path.unlink()
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            LOG.warning("Checkpoints cannot be written to %s: %s", self._folder, error.strerror or error)

    def _read(self, number: int) -> Checkpoint:
        """Return a checkpoint. Raises ValueError or OSError when it or a file of its weights is not whole."""
        path = self._path(_CHECKPOINT, number)
        found = state.read(path)
        files = {each: self._path(_WEIGHTS, each) for each in found["weights"]}
        for file in files.values():
            state.check(file)
        identity.check(path, found["identity"], self._own)
        self._last, self._weights = number, set(files)
        return Checkpoint(found["trained"], {each: partial(_unpack, file) for each, file in files.items()})

    def _remove(self, pattern: str, unneeded: Callable[[int], bool]) -> None:
        for number in filter(unneeded, _numbers(self._folder, pattern)):
            with suppress(OSError):  # it takes up room, and that is all
                self._path(pattern, number).unlink()

    def _path(self, pattern: str, number: int) -> Path:
        return self._folder / pattern.format(number)


def _numbers(folder: Path, pattern: str) -> set[int]:
    """Return the numbers of the files of one kind that are there."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    return {int(found[1]) for name in names if (found := _NAMES[pattern].fullmatch(name))}


def _unpack(file: Path, path: Path) -> None:
    """Write the file of weights in `file` to `path`."""
    path.write_bytes(state.read(file)["file"])
