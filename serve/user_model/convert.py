"""`python -m serve.user_model.convert`: converts a SavedModel or .keras file to the graphs and model.json for `serve`.

Needs TensorFlow. Writes into --out: a graph for each signature, model.json, and for `compare` a file `check-N.npz` for
each signature and set of random inputs, with these inputs and TensorFlow's outputs; checks.json lists them. A .keras
file is first exported to `saved_model` in --out; with --only-saved-model, that is all.
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

# TensorFlow's log lines would hide the one-sentence message of this program. Its exceptions contain the same text.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

from serve import machine
from serve.artifact import MODEL_ONNX, ArtifactError
from serve.user_model import discovery, saved_model, signature
from serve.user_model.saved_model import Functions, Session, first_line
from serve.user_model.signature import DEFAULT, STRING, Signature, Tensor, TensorModel

OPSET = 17
CHECKS = "checks.json"
# Rows, length of dimensions without a fixed size, and the largest value: once like an image of 0..1, once of 0..255.
_RANDOM_INPUTS = ((1, 64, 1.0), (3, 96, 255.0))


class ConversionError(Exception):
    """The model cannot be converted for ONNX Runtime. The message says why."""


def main() -> None:
    """Convert the model.

    Exits with a one-sentence message on stderr and code 1 if the model cannot be converted, or 2 if it cannot be
    loaded.
    """
    parser = argparse.ArgumentParser(prog="python -m serve.user_model.convert", description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of a SavedModel, or a .keras file")
    parser.add_argument("--name", required=True, help="the source's name in messages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--only-saved-model", action="store_true", help="only convert a .keras file to a SavedModel")
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
    """Load the file with the Keras version that saved it, 3 or 2, and export it. Raises ArtifactError."""
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
    except Exception as error:  # code of custom layers may raise anything
        raise ArtifactError(
            f"{path} cannot be loaded by Keras {keras.__version__} (it was saved by {version}): {first_line(error)}. "
            "Custom layers are not in the file: export the model as a SavedModel (model.export) in the script."
        ) from error
    return target


def convert(saved: Functions | Session, out: Path) -> None:
    """Write the graphs, model.json and the checks for serve.user_model.compare. Raises ConversionError."""
    if isinstance(saved, Session):
        raise ConversionError("it is a SavedModel of TensorFlow 1, which is not supported")
    names = sorted(saved.functions, key=lambda name: (name != DEFAULT, name))
    examples = {name: _examples(saved, name) for name in names}
    written: dict[str, Signature] = {}
    checks: list[dict[str, str]] = []
    for number, name in enumerate(names):
        duplicate = next((other for other in written if _equal(examples[name], examples[other])), None)
        if duplicate is None:
            graph = MODEL_ONNX if number == 0 else f"model-{number}.onnx"
            _to_onnx(saved, name, out / graph)
            for inputs, outputs in examples[name]:
                checks.append({"signature": name, "file": f"check-{len(checks)}.npz"})
                arrays: dict[str, Any] = {f"input:{key}": value for key, value in inputs.items()}
                arrays |= {f"output:{key}": value for key, value in outputs.items()}
                np.savez(out / checks[-1]["file"], **arrays)
        else:  # Keras exports its function under two names
            graph = written[duplicate].graph
        written[name] = replace(saved.model.signatures[name], graph=graph)
    signature.write(TensorModel(saved.model.network, written, saved.model.versions), out)
    (out / CHECKS).write_text(json.dumps(checks), encoding="utf-8")


Example = tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]
"""Inputs and outputs by name."""


def _examples(saved: Functions, name: str) -> list[Example]:
    """Return random inputs of a signature with TensorFlow's outputs."""
    described = saved.model.signatures[name]
    texts = [tensor.name for tensor in (*described.inputs, *described.outputs) if tensor.dtype == STRING]
    if texts:
        raise ConversionError(f"signature {name!r} has text in {', '.join(texts)}, which ONNX Runtime does not support")
    random = np.random.default_rng(0)
    examples = []
    for rows, side, largest in _RANDOM_INPUTS:
        inputs = {tensor.name: _random_input(random, tensor, rows, side, largest) for tensor in described.inputs}
        try:
            examples.append((inputs, saved.run(name, inputs)))
        except Exception as error:
            raise ConversionError(
                f"signature {name!r} cannot be checked, because TensorFlow rejects random input: {first_line(error)}"
            ) from error
    return examples


def _random_input(random: np.random.Generator, tensor: Tensor, rows: int, side: int, largest: float) -> NDArray[Any]:
    if tensor.shape is None:
        raise ConversionError(f"input {tensor.name!r} has no fixed number of dimensions")
    defaults = [rows, *[side] * len(tensor.shape)]
    shape = [defaults[axis] if length is None else length for axis, length in enumerate(tensor.shape)]
    if tensor.dtype.startswith("float"):
        return (random.random(shape) * largest).astype(tensor.dtype)
    if tensor.dtype == "uint8":
        return random.integers(0, 256, shape, np.uint8)
    return random.integers(0, 2, shape).astype(tensor.dtype)  # larger values may exceed the rows of an embedding


def _equal(examples: list[Example], others: list[Example]) -> bool:
    """Return whether two signatures have the same inputs and bit-identical outputs."""
    pairs = [(a, b) for mine, other in zip(examples, others, strict=True) for a, b in zip(mine, other, strict=True)]
    return all(a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a) for a, b in pairs)


def _to_onnx(saved: Functions, name: str, path: Path) -> None:
    """Write one signature as a graph with the names of its inputs and outputs."""
    import onnx
    import tf2onnx

    described, function = saved.model.signatures[name], saved.functions[name]
    inputs, outputs = [tensor.name for tensor in described.inputs], [tensor.name for tensor in described.outputs]
    if set(inputs) & set(outputs):
        raise ConversionError(f"signature {name!r} has an input and an output with the same name")
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in described.inputs]

    def traced(*values: Any) -> Any:
        return function(**dict(zip(inputs, values, strict=True)))

    call = tf.function(traced, input_signature=specs)
    try:
        model, _ = tf2onnx.convert.from_function(call, input_signature=specs, opset=OPSET)
        _name_outputs(model, outputs)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
    except Exception as error:  # tf2onnx has no exception class of its own
        reason = first_line(error)
        # The error names the TensorFlow operation that ONNX does not have, such as StatelessRandomUniformV2.
        if "Random" in reason:
            reason += ". Its output is random: keep augmentation out of the exported model"
        raise ConversionError(f"signature {name!r} cannot be converted: {reason}") from error


def _name_outputs(model: Any, names: list[str]) -> None:
    """Give the graph's outputs the signature's names. Both are in the same order, sorted by name."""
    if {value.name for value in model.graph.output} == set(names):
        return
    renamed = {value.name: name for value, name in zip(model.graph.output, names, strict=True)}
    used = {name for node in model.graph.node for name in (*node.input, *node.output)} - set(renamed)
    if used & set(names):
        raise ConversionError(f"its graph uses the name {', '.join(sorted(used & set(names)))} internally")
    for value in model.graph.output:
        value.name = renamed[value.name]
    for node in model.graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]


if __name__ == "__main__":
    main()
