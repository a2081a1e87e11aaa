"""Read and write the state of a job as one file of JSON and array bytes, without pickle.

The first line has the format's name and version. The second line is the JSON, which contains the dtype and shape of
each array in place of its values. The bytes of the arrays follow in the same order. The file ends with the SHA-256 of
everything before it. Files of later versions must end in the same way, to be distinguishable from damaged ones.
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
"""Strings, numbers, None and arrays, in lists and in dictionaries with string keys other than `__array__`."""

VERSION = 1
_FORMAT = "sagemaker-vision-containers state "
_ARRAY = "__array__"  # marks an array in the JSON, with its dtype and shape
_DIGEST = hashlib.sha256().digest_size
_CHUNK = 1 << 20


class OtherVersion(ValueError):
    """The file is intact, but this program cannot read its format version."""


def write(path: Path, state: State) -> None:
    """Write a state and sync it to disk. Raises TypeError for a value that a state cannot hold, and OSError."""
    arrays: list[NDArray[Any]] = []

    def encode(value: object) -> dict[str, Any]:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject or value.dtype.names:
            raise TypeError(f"a state cannot hold a {type(value).__name__}")
        arrays.append(value)
        return {_ARRAY: [value.dtype.str, value.shape]}

    text = json.dumps(state, default=encode)  # has no line breaks
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in chain([f"{_FORMAT}{VERSION}\n{text}\n".encode()], (array.tobytes() for array in arrays)):
            file.write(part)
            digest.update(part)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())


def check(path: Path) -> None:
    """Check that a file is intact. Raises ValueError if not, OtherVersion for another format version, and OSError."""
    with path.open("rb") as file:
        _check(path, file)


def read(path: Path) -> State:
    """Return exactly the state that `write` wrote, except with lists for tuples. Raises the same errors as `check`."""
    with path.open("rb") as file:
        _check(path, file)
        text = file.readline()
        return json.loads(text, object_hook=lambda value: _decode(file, value))


def _check(path: Path, file: BinaryIO) -> None:
    """Check the whole file, then seek to its second line."""
    digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size - _DIGEST
    while left > 0 and (part := file.read(min(left, _CHUNK))):
        digest.update(part)
        left -= len(part)
    if left or file.read() != digest.digest():
        raise ValueError(f"{path} is damaged or incomplete: its checksum does not match its content")
    file.seek(0)
    first = file.readline().decode("utf-8", "replace").rstrip("\n")
    if not first.startswith(_FORMAT):
        raise ValueError(f"{path} is not a job state: it starts with {first[:40]!r}")
    version = first.removeprefix(_FORMAT)
    if version != str(VERSION):
        raise OtherVersion(f"{path} has format version {version}, but this program reads version {VERSION}")


def _decode(file: BinaryIO, value: dict[str, Any]) -> Any:
    """Return the array that `value` stands for, read from the file's next bytes, or `value` if it is not an array."""
    if value.keys() != {_ARRAY}:
        return value
    dtype, shape = value[_ARRAY]
    return np.fromfile(file, np.dtype(dtype), math.prod(shape)).reshape(shape)
