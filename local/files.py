"""Files and folders that are written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` for a new file or folder, which takes its place if the block succeeds, else is removed.

    The folder of `path` is made if missing. A folder takes the place of a folder, a file that of a file; raises OSError
    where the other kind is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    building, before = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("part", "before"))
    try:
        yield building
        if building.is_dir() and path.is_dir():
            path.replace(before)  # a folder replaces only an empty one
        building.replace(path)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        if before.exists() and not path.exists():
            before.replace(path)
        shutil.rmtree(building, ignore_errors=True)
        building.unlink(missing_ok=True)
