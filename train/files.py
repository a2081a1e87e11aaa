"""Write the files of the model folder atomically: under a temporary name, then renamed."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from train.errors import TrainError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# MXNet does not report why a write failed. With fewer free bytes than this, the disk is considered full.
_FULL = 1_000_000


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Create or replace `path` atomically: call `write` with a temporary path and rename the result.

    Raises a TrainError that names the file if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with writing(path):
            write(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # the write error was already raised
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a TrainError that says why `path` could not be written."""
    try:
        yield
    except OSError as error:
        raise TrainError(f"{path} could not be written: {_why(path, error)}") from error


def _why(path: Path, error: OSError) -> str:
    """Return why `path` could not be written. Call this before removing the incomplete file, which frees space."""
    reason = error.strerror or str(error)
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return reason
    if error.errno in _NO_SPACE or free < _FULL:
        return f"the disk is full ({free} bytes free): set a larger volume_size, or free space there ({reason})"
    return f"{reason} ({free / 1e9:.1f} GB are free there)"


def names(folder: Path) -> str:
    """Return the names of the files that a job wrote to `folder`, for the log."""
    return ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
