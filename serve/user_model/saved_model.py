"""Describes and runs the signatures of a SavedModel with TensorFlow."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# TensorFlow's log quotes data from requests without escaping it. Its exceptions contain the same text.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

from serve.artifact import ArtifactError
from serve.http.errors import BadRequest, from_body
from serve.user_model import scaling
from serve.user_model.discovery import SAVED_MODEL
from serve.user_model.signature import DTYPES, STRING, Signature, Tensor, TensorModel
from serve.words import sentence


class Functions:
    """A SavedModel of TensorFlow 2, with functions as signatures. `run` is thread-safe."""

    def __init__(self, path: Path, name: str) -> None:
        """Load the model. Raises ArtifactError."""
        with _loading(path):
            self._loaded = tf.saved_model.load(str(path))
        self.functions = dict(self._loaded.signatures)
        self.model = _model(name, {key: _of_function(function, key, path) for key, function in self.functions.items()})

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs of the signature `name` by name. Raises BadRequest if the model rejects the inputs."""
        described = self.model.signatures[name]
        tensors = {tensor.name: tf.constant(inputs[tensor.name], tensor.dtype) for tensor in described.inputs}
        with _computing():
            outputs = self.functions[name](**tensors)
        return {tensor.name: outputs[tensor.name].numpy() for tensor in described.outputs}


class Session:
    """A SavedModel of TensorFlow 1, which is a graph without functions, in a session. `run` is thread-safe."""

    def __init__(self, path: Path, name: str) -> None:
        """Load the model. Raises ArtifactError."""
        threading = tf.config.threading
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threading.get_intra_op_parallelism_threads(),
            inter_op_parallelism_threads=threading.get_inter_op_parallelism_threads(),
        )
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with _loading(path), self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(path))
        self._described = dict(loaded.signature_def)
        self.model = _model(name, {key: self._signature(key, path) for key in self._described})

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs of the signature `name` by name. Raises BadRequest if the model rejects the inputs."""
        described = self._described[name]
        fetches = {key: info.name for key, info in described.outputs.items()}
        with _computing():
            outputs = self._session.run(fetches, {info.name: inputs[key] for key, info in described.inputs.items()})
        return {key: np.asarray(value) for key, value in outputs.items()}

    def _signature(self, name: str, path: Path) -> Signature:
        described = self._described[name]
        inputs, outputs = (
            tuple(_tensor(key, _spec(info), name, path) for key, info in sorted(infos.items()))
            for infos in (described.inputs, described.outputs)
        )
        if not _takes_pixels(inputs):
            return Signature(inputs, outputs)
        [image] = described.inputs.values()
        names = [info.name for info in described.outputs.values()]
        values = scaling.of_session(self._session, self._session.graph.get_tensor_by_name(image.name), names)
        return Signature(inputs, outputs, image_values=values)


def load(path: Path, name: str) -> Functions | Session:
    """Load the SavedModel in the folder `path`. `name` is its name in messages.

    Raises ArtifactError if it cannot be loaded or has no signature.
    """
    with _loading(path):
        document = SavedModelProto.FromString((path / SAVED_MODEL).read_bytes())
    functions = len(document.meta_graphs) == 1 and document.meta_graphs[0].HasField("object_graph_def")
    loaded = (Functions if functions else Session)(path, name)
    if not loaded.model.signatures:
        raise ArtifactError(
            f"{path} has no signature to call: save it with Keras's model.export, or pass signatures= to "
            "tf.saved_model.save."
        )
    return loaded


def set_threads(count: int) -> None:
    """Set the number of threads per prediction. Must be called before TensorFlow computes anything."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def first_line(error: Exception) -> str:
    """Return an error's message without the details that TensorFlow appends."""
    return (sentence(str(error)) or type(error).__name__).rstrip(".")


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # OSError, ValueError, TypeError or one of TensorFlow's errors, depending on the damage
        raise ArtifactError(f"{path} cannot be loaded: {first_line(error)}. Save the model again.") from error


@contextmanager
def _computing() -> Iterator[None]:
    try:
        yield
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise BadRequest(f"The model cannot compute this input: {from_body(first_line(error))}.") from error


def _model(name: str, signatures: dict[str, Signature]) -> TensorModel:
    return TensorModel(f"SavedModel {name}", signatures, {"tensorflow": tf.__version__})


def _of_function(function: Any, name: str, path: Path) -> Signature:
    # TensorFlow has already replaced names that are not valid Python argument names.
    inputs = tuple(_tensor(key, spec, name, path) for key, spec in function.structured_input_signature[1].items())
    outputs = tuple(_tensor(key, spec, name, path) for key, spec in sorted(function.structured_outputs.items()))
    return Signature(inputs, outputs, image_values=scaling.of_function(function) if _takes_pixels(inputs) else "")


def _takes_pixels(inputs: Sequence[Tensor]) -> bool:
    """Return whether the only input is an image of floats, with any range of values."""
    return len(inputs) == 1 and inputs[0].image is not None and inputs[0].dtype != "uint8"


def _spec(info: Any) -> Any:
    """Convert TensorFlow 1's description of an input or output to a TensorFlow 2 spec."""
    if info.WhichOneof("encoding") != "name":
        return tf.SparseTensorSpec()
    return tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype).base_dtype)


def _tensor(key: str, spec: Any, signature: str, path: Path) -> Tensor:
    dtype = spec.dtype.name if isinstance(spec, tf.TensorSpec) else type(spec).__name__
    if dtype not in DTYPES:
        raise ArtifactError(
            f"{path}: {key} of signature {signature!r} has the type {dtype}, which JSON cannot represent: save it with "
            f"inputs and outputs of {', '.join(DTYPES[:3])}, integer types, bool or {STRING}."
        )
    return Tensor(key, dtype, None if spec.shape.rank is None else tuple(spec.shape.as_list()))
