"""The state of a job as one file: JSON for its shape and numbers, then the bytes of its arrays. No pickle.

The first line names the format and its version, the second is the JSON, in which an array stands as its type and shape.
The bytes of the arrays follow in the same order, and last of all the SHA-256 of everything before. A file of any later
version ends with it too, so that it is told apart from a damaged one.
"""

import hashlib
import json
import math
import os
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

State = dict[str, Any]
"""Texts, numbers, None and arrays, in lists and in dictionaries whose keys are texts other than `__array__`."""

VERSION = 1
_FORMAT = "sagemaker-vision-containers state "
_ARRAY = "__array__"  # stands in the JSON for an array, with its type and shape
_DIGEST = hashlib.sha256().digest_size
_CHUNK = 1 << 20


class OtherVersion(ValueError):
    """The file is whole, and of a version of the format that this program does not read."""


def write(path: Path, state: State) -> None:
    """Write a state, and wait until the disk has it. Raises TypeError for what a state cannot hold, and OSError."""
    arrays: list[NDArray[Any]] = []

    def placed(value: object) -> dict[str, Any]:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject or value.dtype.names:
            raise TypeError(f"a state cannot hold a {type(value).__name__}")
        arrays.append(value)
        return {_ARRAY: [value.dtype.str, value.shape]}

    text = json.dumps(state, default=placed)  # without line breaks
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in chain([f"{_FORMAT}{VERSION}\n{text}\n".encode()], (each.tobytes() for each in arrays)):
            file.write(part)
            digest.update(part)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())


def check(path: Path) -> None:
    """Raise ValueError for a file that is not as `write` left it, OtherVersion for one of another version, OSError."""
    with path.open("rb") as file:
        _check(path, file)


def read(path: Path) -> State:
    """Return what `write` wrote, bit for bit; tuples come back as lists. Raises as `check` does."""
    with path.open("rb") as file:
        _check(path, file)
        text = file.readline()
        return json.loads(text, object_hook=lambda found: _array(file, found))


def _check(path: Path, file: BinaryIO) -> None:
    """Check the whole file, and leave it behind its first line."""
    digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size - _DIGEST
    while left > 0 and (part := file.read(min(left, _CHUNK))):
        digest.update(part)
        left -= len(part)
    if left or file.read() != digest.digest():
        raise ValueError(f"{path} is damaged or incomplete: its checksum is not that of its content")
    file.seek(0)
    first = file.readline().decode("utf-8", "replace").rstrip("\n")
    if not first.startswith(_FORMAT):
        raise ValueError(f"{path} is not the state of a job: it begins with {first[:40]!r}")
    version = first.removeprefix(_FORMAT)
    if version != str(VERSION):
        raise OtherVersion(f"{path} is of version {version} of its format, and this program reads version {VERSION}")


def _array(file: BinaryIO, found: dict[str, Any]) -> Any:
    """Return the array that `found` stands for, whose bytes come next in the file, or `found` itself."""
    if found.keys() != {_ARRAY}:
        return found
    kind, shape = found[_ARRAY]
    return np.fromfile(file, np.dtype(kind), math.prod(shape)).reshape(shape)
