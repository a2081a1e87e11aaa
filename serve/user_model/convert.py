"""`python -m serve.user_model.convert`: a SavedModel or a .keras file to the graphs and model.json that `serve` reads.

Runs where TensorFlow is. Written into --out: a graph for each signature, model.json, and for `compare` a file
`check-N.npz` for each pair of a signature and drawn inputs, holding both and TensorFlow's outputs; its name in
checks.json. A .keras file becomes `saved_model` there first, and with --only-saved-model no more than that.
"""

import argparse
import json
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# TensorFlow's remarks would stand before the one sentence that this program says; its exceptions say the same.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

from serve import machine
from serve.artifact import MODEL_ONNX, ArtifactError
from serve.user_model import discovery, saved_model, signature
from serve.user_model.saved_model import Functions, Session, first_line
from serve.user_model.signature import DEFAULT, STRING, Signature, Tensor, TensorModel

OPSET = 17
CHECKS = "checks.json"
_DRAWS = ((1, 64, 1.0), (3, 96, 255.0))  # rows, pixels of free sides, and the largest value: a 0..1 and a 0..255 image


class ConversionError(Exception):
    """A model that has no graph for ONNX Runtime; the message says what of it."""


def main() -> None:
    """Convert. Exits 1 with one sentence on stderr when the model cannot be converted, 2 when it cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m serve.user_model.convert", description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of a SavedModel, or a .keras file")
    parser.add_argument("--name", required=True, help="what messages call the source")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--only-saved-model", action="store_true", help="a .keras file to a SavedModel, no graphs")
    arguments = parser.parse_args()
    machine.be_killed_first(1000)
    try:
        source = arguments.source
        if source.is_file():
            source = _from_keras(source, arguments.out / discovery.EXPORTED)
        saved = saved_model.load(source, arguments.name)
        if not arguments.only_saved_model:
            convert(saved, arguments.out)
    except ArtifactError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except ConversionError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _from_keras(path: Path, target: Path) -> Path:
    """Load the file by the Keras that wrote it, 3 or 2, and export it. Raises ArtifactError when that fails."""
    try:
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json")).get("keras_version", "3"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} is not a .keras file: {error}. Save the model again with model.save.") from error
    if version.startswith("2"):
        import tf_keras as keras
    else:
        import keras
    try:
        keras.models.load_model(path, compile=False).export(str(target))
    except Exception as error:  # Keras raises whatever a layer's own code raises
        raise ArtifactError(
            f"{path} cannot be loaded by Keras {keras.__version__} (it was saved by {version}): {first_line(error)}. "
            "Custom layers are not in the file: export the model as a SavedModel (model.export) in the script."
        ) from error
    return target


def convert(saved: Functions | Session, out: Path) -> None:
    """Write the graphs, model.json and what serve.user_model.compare needs. Raises ConversionError."""
    if isinstance(saved, Session):
        raise ConversionError("it is a SavedModel of TensorFlow 1, which is not converted")
    names = sorted(saved.functions, key=lambda name: (name != DEFAULT, name))
    drawn = {name: _answers(saved, name) for name in names}
    written: dict[str, Signature] = {}
    checks: list[dict[str, str]] = []
    for number, name in enumerate(names):
        one = saved.model.signatures[name]
        twin = next((other for other in written if _same(drawn[name], drawn[other])), None)
        if twin is None:
            graph = MODEL_ONNX if number == 0 else f"model-{number}.onnx"
            _to_onnx(saved, name, out / graph)
            for inputs, outputs in drawn[name]:
                checks.append({"signature": name, "file": f"check-{len(checks)}.npz"})
                arrays: dict[str, Any] = {f"input:{key}": value for key, value in inputs.items()}
                arrays |= {f"output:{key}": value for key, value in outputs.items()}
                np.savez(out / checks[-1]["file"], **arrays)
        else:  # Keras exports its function under two names
            graph = written[twin].graph
        written[name] = replace(one, graph=graph)
    signature.write(TensorModel(saved.model.network, written, saved.model.versions), out)
    (out / CHECKS).write_text(json.dumps(checks), encoding="utf-8")


Draw = tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]


def _answers(saved: Functions, name: str) -> list[Draw]:
    """Drawn inputs of a signature with TensorFlow's outputs for them."""
    one = saved.model.signatures[name]
    texts = [tensor.name for tensor in (*one.inputs, *one.outputs) if tensor.dtype == STRING]
    if texts:
        raise ConversionError(f"signature {name!r} has text in {', '.join(texts)}, which ONNX Runtime does not compute")
    random = np.random.default_rng(0)
    draws = []
    for rows, side, largest in _DRAWS:
        inputs = {tensor.name: _draw(random, tensor, rows, side, largest) for tensor in one.inputs}
        try:
            draws.append((inputs, saved.run(name, inputs)))
        except Exception as error:
            raise ConversionError(
                f"signature {name!r} cannot be compared, as TensorFlow refuses drawn input: {first_line(error)}"
            ) from error
    return draws


def _draw(random: np.random.Generator, tensor: Tensor, rows: int, side: int, largest: float) -> NDArray[Any]:
    if tensor.shape is None:
        raise ConversionError(f"input {tensor.name!r} has no fixed number of dimensions")
    free = [rows, *[side] * len(tensor.shape)]
    shape = [free[place] if fixed is None else fixed for place, fixed in enumerate(tensor.shape)]
    if tensor.dtype.startswith("float"):
        return (random.random(shape) * largest).astype(tensor.dtype)
    if tensor.dtype == "uint8":
        return random.integers(0, 256, shape, np.uint8)
    return random.integers(0, 2, shape).astype(tensor.dtype)  # more might be outside an embedding's rows


def _same(draws: list[Draw], others: list[Draw]) -> bool:
    """Whether two signatures have the same inputs and, to the bit, the same outputs for them."""
    pairs = [(a, b) for draw, other in zip(draws, others, strict=True) for a, b in zip(draw, other, strict=True)]
    return all(a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a) for a, b in pairs)


def _to_onnx(saved: Functions, name: str, path: Path) -> None:
    """Write one signature as a graph whose inputs and outputs are called as the signature's."""
    import onnx
    import tf2onnx

    one, function = saved.model.signatures[name], saved.functions[name]
    inputs, outputs = [tensor.name for tensor in one.inputs], [tensor.name for tensor in one.outputs]
    if set(inputs) & set(outputs):
        raise ConversionError(f"signature {name!r} has inputs and outputs of the same name")
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in one.inputs]

    def traced(*values: Any) -> Any:
        return function(**dict(zip(inputs, values, strict=True)))

    call = tf.function(traced, input_signature=specs)
    try:
        model, _ = tf2onnx.convert.from_function(call, input_signature=specs, opset=OPSET)
        _name_outputs(model, outputs)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
    except Exception as error:  # tf2onnx raises whatever its rewriters meet
        reason = first_line(error)
        # An operation that ONNX does not have, by its name in TensorFlow: StatelessRandomUniformV2.
        if "Random" in reason:
            reason += ". Its answers depend on chance: keep augmentation out of the model that is exported"
        raise ConversionError(f"signature {name!r} cannot be converted: {reason}") from error


def _name_outputs(model: Any, names: list[str]) -> None:
    """Call the graph's outputs by the signature's names, in whose order, which is sorted, tf2onnx gives them."""
    if {value.name for value in model.graph.output} == set(names):
        return
    renamed = {value.name: name for value, name in zip(model.graph.output, names, strict=True)}
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)} - set(renamed)
    if taken & set(names):
        raise ConversionError(f"its graph uses the name {', '.join(sorted(taken & set(names)))} inside")
    for value in model.graph.output:
        value.name = renamed[value.name]
    for node in model.graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]


if __name__ == "__main__":
    main()
