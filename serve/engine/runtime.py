"""The engine for the built-in tasks: runs model.onnx on the bytes of an image, with ONNX Runtime."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Disable ONNX Runtime's telemetry, which must be done before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from serve import artifact as artifacts
from serve import machine
from serve.artifact import FLOAT32, INT8, MODEL_INT8, MODEL_ONNX, Artifact, ArtifactError
from serve.engine.reader import Picture, Reader
from serve.http.media import require_image
from serve.http.unreadable_body import unreadable_as_bad_request
from serve.tasks.forms import Form, Prediction
from serve.tasks.task import TASKS, Task
from serve.telemetry.trace import DECODE, ENCODE, MODEL, stage
from serve.words import sentence

log = logging.getLogger("serve")

_FATAL_ONLY = 4  # ONNX Runtime also raises its errors as exceptions, and it does not escape what it logs
# This optimizer quantizes layers that were deliberately left in float, with a single scale for all weights.
_DISABLED_OPTIMIZERS = ("WeightBiasQuantization",)


def session(path: Path, threads: int, keep_memory: bool = True, without: Sequence[str] = ()) -> ort.InferenceSession:
    """Load a graph into ONNX Runtime, with `threads` threads per prediction. Raises ONNX Runtime's errors.

    With `keep_memory`, ONNX Runtime keeps the memory of a prediction for the next one: 3 to 17 MB (MobileNetV2, FCN,
    ResNet-18, SSD), without a measurable gain in CPU time. `without` names optimizers to disable.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = keep_memory
    options.log_severity_level = _FATAL_ONLY
    # Spinning threads would take CPU time from other predictions and from /ping.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, ["CPUExecutionProvider"], disabled_optimizers=list(without))


def graph(artifact: Artifact, precision: str) -> str:
    """Return the file of the graph to serve on this processor; `precision` may be FLOAT32 to use the float graph.

    If there is an int8 graph, log which one is served.
    """
    quantization = artifact.quantization
    if quantization is None or quantization.serves != INT8:
        return MODEL_ONNX
    if precision == FLOAT32:
        log.info("serving %s instead of %s, because VISION_PRECISION=float32", MODEL_ONNX, MODEL_INT8)
        return MODEL_ONNX
    if not quantization.reduce_range and not machine.has_vnni():
        log.warning(
            "serving %s: %s would give wrong predictions on this processor, which has no VNNI", MODEL_ONNX, MODEL_INT8
        )
        return MODEL_ONNX
    log.info("serving %s; set VISION_PRECISION=float32 to serve %s", MODEL_INT8, MODEL_ONNX)
    return MODEL_INT8


@dataclass(frozen=True)
class Read:
    """A request: its image, and the options in its custom attributes."""

    picture: Picture
    options: Mapping[str, float]


class OnnxEngine:
    """A loaded and tested model. `predict` and `run` are thread-safe."""

    def __init__(
        self, model_dir: Path, threads: int, reader: Reader | None = None, precision: str = "", keep_memory: bool = True
    ) -> None:
        """Load the artifact in `model_dir`, with `threads` threads per prediction. `reader` reads its images.

        With the `precision` FLOAT32, use the float graph even if model.json names another. See `session` for
        `keep_memory`. Raises ArtifactError if model.json or the graph is missing or broken, or if they do not match.
        """
        self.artifact: Artifact = artifacts.read(model_dir)
        self._reader = reader or Reader()
        path = model_dir / graph(self.artifact, precision)
        try:
            self._session = session(path, threads, keep_memory, _DISABLED_OPTIMIZERS)
            self._warm_up()
        except ArtifactError:
            raise
        except Exception as error:  # ONNX Runtime has about fifteen exception types without a common base class
            raise ArtifactError(f"{path} cannot be loaded: {first_line(error)}. Train again to write it.") from error

    @property
    def task(self) -> Task:
        """The module of the model's task."""
        return TASKS[self.artifact.task]

    def forms(self, batch: bool) -> Sequence[Form[Prediction]]:
        """See serve.engine.model.Engine."""
        return self.task.BATCH_FORMS if batch else self.task.FORMS

    def read(self, data: bytes, media: str, attributes: Sequence[tuple[str, str]]) -> Read:
        """See serve.engine.model.Engine."""
        require_image(media)
        options = self.task.options(attributes)
        with unreadable_as_bad_request(data):
            return Read(self._reader.image(data, self.artifact.input), options)

    def respond(self, read: Read, form: Form[Prediction]) -> str | bytes:
        """See serve.engine.model.Engine."""
        with unreadable_as_bad_request(read.picture.data):
            prediction = self._predict(read.picture)
        with stage(ENCODE):
            return form.encode(replace(prediction, values=self.task.postprocess(prediction.values, read.options)))

    def predict(self, data: bytes) -> Prediction:
        """Return the prediction for the bytes of one image file.

        Raises preprocess.UnreadableImage if the bytes are not a readable image, and FloatingPointError if the model's
        output is not finite.
        """
        return self._predict(self._reader.image(data, self.artifact.input))

    def _predict(self, picture: Picture) -> Prediction:
        with stage(DECODE):
            tensor, (width, height) = picture.load()
        with stage(MODEL):
            outputs = {name: output[0] for name, output in self.run(tensor[np.newaxis]).items()}
        if not all_finite(outputs):
            raise FloatingPointError("The model's output is not finite: its weights are broken.")
        with stage(ENCODE):
            values = self.task.values(outputs, self.artifact)
        return Prediction(values, self.artifact.class_names, width, height, picture.spec)

    def run(self, tensors: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the graph's outputs by name (see Artifact) for float32 (N, channels, height, width)."""
        names = self.task.OUTPUTS
        outputs = self._session.run(list(names), {self.artifact.input.name: tensors})
        return dict(zip(names, outputs, strict=True))

    def _warm_up(self) -> None:
        """Run one prediction, to check the shapes and to make the first request faster."""
        spec = self.artifact.input
        outputs = self.run(np.zeros((1, spec.channels, spec.height, spec.width), np.float32))
        if not self.task.fits(outputs, self.artifact):
            actual = " and ".join(f"{output.dtype} {output.shape}" for output in outputs.values())
            raise ArtifactError(
                f"model.onnx returns {actual} for one image, but model.json has "
                f"{len(self.artifact.class_names)} class_names and an input of {spec.height} x {spec.width} pixels. "
                "Use the two files of the same training job."
            )
        if not all_finite(outputs):
            raise ArtifactError("The output of model.onnx is not finite: its weights are broken. Train again.")


def all_finite(outputs: Mapping[str, NDArray[np.float32]]) -> bool:
    """Return whether no output contains NaN or infinity."""
    return all(np.isfinite(output).all() for output in outputs.values())


def first_line(error: Exception) -> str:
    """Return an error's message without the stack trace that ONNX Runtime appends."""
    return (sentence(str(error)) or type(error).__name__).rstrip(".")
