"""A SavedModel under TensorFlow: its signatures, described and run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serve.artifact import ArtifactError
from serve.errors import BadRequest, from_body
from serve.signature import DTYPES, STRING, Signature, Tensor, TensorModel


class SavedModel:
    """A SavedModel, loaded. `run` may be called by many threads at once."""

    def __init__(self, path: Path, name: str) -> None:
        """`name` is what messages call it. Raises ArtifactError when it cannot be loaded or has no signature."""
        self.path = path
        try:
            self._loaded = tf.saved_model.load(str(path))
        except Exception as error:  # OSError, ValueError, TypeError, errors of TensorFlow's: by what is broken
            raise ArtifactError(f"{path} cannot be loaded: {first_line(error)}. Save the model again.") from error
        self.functions = dict(self._loaded.signatures)
        if not self.functions:
            raise ArtifactError(
                f"{path} has no signature, so nothing in it can be called: save it with Keras's model.export, or pass "
                "signatures= to tf.saved_model.save."
            )
        signatures = {key: _described(function, key, path) for key, function in self.functions.items()}
        self.model = TensorModel(f"SavedModel {name}", signatures, {"tensorflow": tf.__version__})

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of the signature `name`, by name. Raises BadRequest for inputs that it cannot compute."""
        one = self.model.signatures[name]
        tensors = {tensor.name: tf.constant(inputs[tensor.name], tensor.dtype) for tensor in one.inputs}
        try:
            found = self.functions[name](**tensors)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise BadRequest(f"The model cannot compute this input: {from_body(first_line(error))}.") from error
        return {tensor.name: found[tensor.name].numpy() for tensor in one.outputs}


def set_threads(count: int) -> None:
    """Compute one prediction on `count` cores. To be called before anything is computed."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def first_line(error: Exception) -> str:
    """What an error says, without what TensorFlow writes below it."""
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")


def _described(function: Any, name: str, path: Path) -> Signature:
    # Only names that a Python function can have reach this place: TensorFlow has rewritten the others.
    inputs = tuple(_tensor(key, spec, name, path) for key, spec in function.structured_input_signature[1].items())
    outputs = tuple(_tensor(key, spec, name, path) for key, spec in sorted(function.structured_outputs.items()))
    return Signature(inputs, outputs)


def _tensor(key: str, spec: Any, signature: str, path: Path) -> Tensor:
    dtype = spec.dtype.name if isinstance(spec, tf.TensorSpec) else type(spec).__name__
    if dtype not in DTYPES:
        raise ArtifactError(
            f"{path}: {key} of signature {signature!r} is of type {dtype}, which JSON cannot carry: save it with "
            f"inputs and outputs of {', '.join(DTYPES[:3])}, whole numbers, booleans or {STRING}."
        )
    return Tensor(key, dtype, None if spec.shape.rank is None else tuple(spec.shape.as_list()))
