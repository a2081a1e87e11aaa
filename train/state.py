"""The state of a job as one file: JSON for its shape and numbers, NumPy's own format for arrays. No pickle."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

State = dict[str, Any]
"""Texts, numbers, None and arrays, in lists and in dictionaries whose keys are texts other than `__array__`."""

_ARRAY = "__array__"  # stands in the JSON for an array, with its name in the file
_JSON = "state"


def write(path: Path, state: State) -> None:
    """Write a state. Raises TypeError for what a state cannot hold, and OSError."""
    arrays: dict[str, NDArray[Any]] = {}

    def named(value: object) -> dict[str, str]:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise TypeError(f"a state cannot hold a {type(value).__name__}")
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}

    text = json.dumps(state, default=named)
    with path.open("wb") as file:
        np.savez(file, **{_JSON: np.array(text)}, **arrays)


def read(path: Path) -> State:
    """Return what `write` wrote, bit for bit; tuples come back as lists.

    Raises OSError, and ValueError for a file that `write` has not written or that has lost something since.
    """

    def array(found: dict[str, Any]) -> Any:
        return file[found[_ARRAY]] if found.keys() == {_ARRAY} else found

    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return json.loads(str(file[_JSON]), object_hook=array)
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not the state of a job: {error}") from error
