"""Files of the model folder: written under another name and renamed, so that each is there whole or not at all."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from train.errors import TrainError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# MXNet does not say why it could not write; with fewer bytes free than this it was for want of them.
_FULL = 1_000_000


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file under a temporary name and rename it: it is there whole or not at all.

    Raises TrainError naming the file when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with writing(path):
            write(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # where nothing can be written nothing can be removed, and that was said already
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise TrainError in place of an OSError: `path` could not be written, and why, first of all a full disk."""
    try:
        yield
    except OSError as error:
        raise TrainError(f"{path} could not be written: {_why(path, error)}") from error


def _why(path: Path, error: OSError) -> str:
    """Say what kept `path` from being written; the file that was begun must still be there."""
    told = error.strerror or str(error)
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return told
    if error.errno in _NO_SPACE or free < _FULL:
        return f"the disk is full ({free} bytes free): set a larger volume_size, or free space there ({told})"
    return f"{told} ({free / 1e9:.1f} GB are free there)"


def names(folder: Path) -> str:
    """Return the names of the files that a job wrote to `folder`, for its last line."""
    return ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
