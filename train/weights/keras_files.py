"""Keras's weight files: a network's layers by name, from whichever Keras wrote them and whatever stands above them.

Three forms: the `.h5` of Keras 1 and 2, in which the published ImageNet weights come; Keras 3's `.weights.h5`; and its
`.keras` archive, which holds one of the latter and which the jobs of these images leave.
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
_INSIDE = "model.weights.h5"
_OPTIMIZER = ("optimizer", "optimizer_weights")
# Keras 3 numbers a layer's variables in the order in which the layer makes them.
_NUMBERED = {1: ("kernel",), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}


def read(file: Path) -> Layers:
    """Return the arrays of all layers in a file by layer and variable, as it stores them; optimizers are passed over.

    The bytes say which form it is, whatever its name. Raises UserError for a file of no such form or a damaged one.
    """
    with file.open("rb") as opened:
        start = opened.read(8)
    if start.startswith(b"PK\x03\x04"):
        return _read_h5(_unpacked(file), file)
    if start.startswith(b"\x89HDF"):
        return _read_h5(file, file)
    if start.startswith(b"version"):
        raise UserError(f"{file} is a Git LFS pointer and not the weights: run `git lfs pull` where it came from")
    raise UserError(f"{file} is neither a Keras .h5 nor a .keras file (it starts with {start!r}): give one of these")


def _unpacked(file: Path) -> io.BytesIO:
    try:
        with zipfile.ZipFile(file) as archive:
            return io.BytesIO(archive.read(_INSIDE))
    except KeyError:
        raise UserError(f"{file} is a zip archive without {_INSIDE}, so no .keras file: give one that is") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{file} is damaged or incomplete ({error}): copy or download it again") from None


def _read_h5(source: Path | io.BytesIO, file: Path) -> Layers:
    import h5py

    found: Layers = defaultdict(dict)

    def visit(path: str, entry: Any) -> None:
        parts = path.split("/")
        if not isinstance(entry, h5py.Dataset) or len(parts) < 2 or parts[0] in _OPTIMIZER:
            return
        if parts[-2] == "vars":
            layer, number = entry.parent.attrs.get("name"), parts[-1]
            names = dict(zip("0123", _NUMBERED.get(len(entry.parent), ()), strict=False))
            if layer is not None:
                found[str(layer)][names.get(number, number)] = entry[()]
            return
        variable = parts[-1].partition(":")[0]
        found[parts[-2]]["kernel" if variable == "depthwise_kernel" else variable] = entry[()]

    try:
        with h5py.File(source) as opened:
            opened.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # h5py says it in any of these
        raise UserError(f"{file} is damaged or incomplete ({error}): copy or download it again") from None
    return found


def layout(base: "keras.Model") -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of the arrays of a Keras model by layer and variable, for the layers that have some."""
    return {
        layer.name: {variable.name: tuple(variable.shape) for variable in layer.weights}
        for layer in base.layers
        if layer.weights
    }


def check(
    found: Mapping[str, Mapping[str, NDArray[Any]]], base: "keras.Model", network: str, file: Path, source: str
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return the arrays that `base` has layers for, float32, when they are those of `network`.

    `file` and `source`, which says where files of `network` come from, are for errors.
    A first kernel for three channels is summed for a `base` of one. Raises UserError naming the layer that lacks, has
    another shape or holds numbers that are not finite.
    """
    checked: dict[str, dict[str, NDArray[np.float32]]] = defaultdict(dict)
    wanted = layout(base)
    lacking = [name for name, shapes in wanted.items() if not shapes.keys() <= found.get(name, {}).keys()]
    if lacking:
        holds = ", ".join(list(found)[:5]) or "no layer with a name"
        raise UserError(
            f"{file} is not {network} as Keras names its layers: it lacks {', '.join(lacking[:3])} ({len(lacking)} of "
            f"{len(wanted)}), it holds {holds}; give a file {source}"
        )
    for layer, shapes in wanted.items():
        for variable, shape in shapes.items():
            array = np.asarray(found[layer][variable], np.float32)
            if len(shape) == 4 and shape[2] == 1 and array.shape[2:3] == (3,):
                array = array.sum(axis=2, keepdims=True)
            if array.shape != shape:
                raise UserError(
                    f"{file} is not {network}: {layer}/{variable} has shape {array.shape}, and {network}'s is {shape}; "
                    "is it of another width or depth, such as another alpha?"
                )
            if not np.isfinite(array).all() or (variable == "moving_variance" and array.min() < 0):
                raise UserError(
                    f"{file} has values in {layer}/{variable} that are not finite or a negative variance: take another "
                    "copy"
                )
            checked[layer][variable] = array
    return checked


def load_into(base: "keras.Model", file: Path, network: str, source: str) -> int:
    """Set all layers of `base` from `file` and return how many arrays that were. Raises UserError as `check` does."""
    count = 0
    arrays = check(read(file), base, network, file, source)
    for layer in base.layers:
        for variable in layer.weights:
            variable.assign(arrays[layer.name][variable.name])
            count += 1
    return count
