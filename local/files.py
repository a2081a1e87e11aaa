"""Files and folders that are written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` for a new file or folder, which takes its place if the block succeeds, else is removed.

    The folder of `path` is made if missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield building
        if path.is_dir():
            shutil.rmtree(path)
        building.replace(path)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        building.unlink(missing_ok=True)
