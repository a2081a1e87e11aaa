"""Writes files and folders atomically."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a new file or folder, which replaces `path` if the block succeeds.

    If the block fails, the temporary file or folder is removed and `path` stays as it was. The parent folder of `path`
    is created if it is missing. Raises OSError if a folder would replace a file, or a file a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, previous = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("part", "before"))
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            path.replace(previous)  # a folder can replace only an empty folder
        temporary.replace(path)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        if previous.exists() and not path.exists():
            previous.replace(path)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
