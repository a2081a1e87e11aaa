"""Read the weight files of all versions of Keras, by layer name. A file may have additional layers.

There are three formats: the `.h5` of Keras 1 and 2, in which ImageNet weights are published; the `.weights.h5` of
Keras 3; and its `.keras` archive, which contains a `.weights.h5` file. Jobs in these images write `.keras` archives.
"""

import io
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from train.errors import UserError

if TYPE_CHECKING:
    import keras

SUFFIXES = (".h5", ".keras")
Layers = dict[str, dict[str, NDArray[Any]]]
"""Arrays by layer and variable."""
_ARCHIVE_MEMBER = "model.weights.h5"
_OPTIMIZER = ("optimizer", "optimizer_weights")
# Keras 3 numbers a layer's variables in the order in which the layer creates them.
_VARIABLES = {1: ("kernel",), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}


def read(file: Path) -> Layers:
    """Return the arrays of all layers in a file by layer and variable, as the file stores them, without the optimizer.

    The format is detected from the content, not from the file's name. Raises UserError for other formats or damaged
    files.
    """
    with file.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(b"PK\x03\x04"):
        return _read_h5(_unpacked(file), file)
    if start.startswith(b"\x89HDF"):
        return _read_h5(file, file)
    if start.startswith(b"version"):
        raise UserError(f"{file} is a Git LFS pointer, not the weights: run `git lfs pull` where it came from")
    raise UserError(f"{file} is neither a Keras .h5 nor a .keras file (it starts with {start!r}): provide one of these")


def _unpacked(file: Path) -> io.BytesIO:
    try:
        with zipfile.ZipFile(file) as archive:
            return io.BytesIO(archive.read(_ARCHIVE_MEMBER))
    except KeyError:
        raise UserError(
            f"{file} is a zip archive without {_ARCHIVE_MEMBER}, not a .keras file: provide a .keras file"
        ) from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{file} is damaged or incomplete ({error}): copy or download it again") from None


def _read_h5(source: Path | io.BytesIO, file: Path) -> Layers:
    import h5py

    layers: Layers = defaultdict(dict)

    def visit(path: str, entry: Any) -> None:
        parts = path.split("/")
        if not isinstance(entry, h5py.Dataset) or len(parts) < 2 or parts[0] in _OPTIMIZER:
            return
        if parts[-2] == "vars":
            layer, number = entry.parent.attrs.get("name"), parts[-1]
            names = dict(zip("0123", _VARIABLES.get(len(entry.parent), ()), strict=False))
            if layer is not None:
                layers[str(layer)][names.get(number, number)] = entry[()]
            return
        variable = parts[-1].partition(":")[0]
        layers[parts[-2]]["kernel" if variable == "depthwise_kernel" else variable] = entry[()]

    try:
        with h5py.File(source) as content:
            content.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # h5py raises any of these
        raise UserError(f"{file} is damaged or incomplete ({error}): copy or download it again") from None
    return layers


def layout(base: "keras.Model") -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of a Keras model's variables by layer and variable."""
    return {
        layer.name: {variable.name: tuple(variable.shape) for variable in layer.weights}
        for layer in base.layers
        if layer.weights
    }


def check(
    layers: Mapping[str, Mapping[str, NDArray[Any]]], base: "keras.Model", network: str, file: Path, source: str
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return the arrays of the layers in `base`, as float32, after checking their shapes and values.

    `file` and `source`, which says where to get a file, are for messages. If `base` has one input channel, the first
    kernel is summed over its three channels. Raises a UserError that names a layer that is missing, has the wrong shape
    or has values that are not finite.
    """
    checked: dict[str, dict[str, NDArray[np.float32]]] = defaultdict(dict)
    expected = layout(base)
    missing = [name for name, shapes in expected.items() if not shapes.keys() <= layers.get(name, {}).keys()]
    if missing:
        present = ", ".join(list(layers)[:5]) or "no named layers"
        raise UserError(
            f"{file} is not {network} with Keras's layer names: it lacks {', '.join(missing[:3])} ({len(missing)} of "
            f"{len(expected)}), it has {present}; provide a file {source}"
        )
    for layer, shapes in expected.items():
        for variable, shape in shapes.items():
            array = np.asarray(layers[layer][variable], np.float32)
            if len(shape) == 4 and shape[2] == 1 and array.shape[2:3] == (3,):
                array = array.sum(axis=2, keepdims=True)
            if array.shape != shape:
                raise UserError(
                    f"{file} is not {network}: {layer}/{variable} has shape {array.shape} instead of {shape}; "
                    "it may have a different width or depth, such as another alpha"
                )
            if not np.isfinite(array).all() or (variable == "moving_variance" and array.min() < 0):
                raise UserError(
                    f"{file} has values in {layer}/{variable} that are not finite or a negative variance: use another "
                    "copy"
                )
            checked[layer][variable] = array
    return checked


def load_into(base: "keras.Model", file: Path, network: str, source: str) -> int:
    """Load all layers of `base` from `file` and return the number of arrays. Raises UserError like `check`."""
    count = 0
    arrays = check(read(file), base, network, file, source)
    for layer in base.layers:
        for variable in layer.weights:
            variable.assign(arrays[layer.name][variable.name])
            count += 1
    return count
