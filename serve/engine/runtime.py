"""The engine: model.onnx under ONNX Runtime, from the bytes of an image to the answer of its task."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# ONNX Runtime reports its sessions to its makers unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from serve import artifact as artifacts
from serve import machine
from serve.artifact import FLOAT32, INT8, MODEL_INT8, MODEL_ONNX, Artifact, ArtifactError
from serve.engine.reader import Picture, Reader
from serve.http.media import require_image
from serve.http.unreadable_body import explained
from serve.tasks.forms import Answer, Form
from serve.tasks.task import TASKS, Task
from serve.telemetry.trace import DECODE, ENCODE, MODEL, stage
from serve.words import sentence

log = logging.getLogger("serve")

_FATAL_ONLY = 4  # ONNX Runtime raises its errors too; its own log is not escaped
# It makes integers of a layer that was left in float between integers, with one scale for all of its weights.
_UNWANTED = ("WeightBiasQuantization",)


def session(path: Path, threads: int, keep_memory: bool = True, without: Sequence[str] = ()) -> ort.InferenceSession:
    """A graph under ONNX Runtime, to compute one prediction on `threads` cores. Raises what ONNX Runtime raises.

    With `keep_memory` what a prediction has taken is kept for the next one: 3 to 17 MB (MobileNetV2, FCN, ResNet-18,
    SSD), and no processor time was saved by it. `without` are optimizers, by name, that are not to change the graph.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = keep_memory
    options.log_severity_level = _FATAL_ONLY
    # Threads that spin while they wait for work take it from the other predictions and from /ping.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, ["CPUExecutionProvider"], disabled_optimizers=list(without))


def graph(artifact: Artifact, precision: str) -> str:
    """The file of the graph that serves, on this processor and for a wish of FLOAT32 or none; the log says which.

    Where there is a float graph alone, nothing is to be said.
    """
    kept = artifact.quantization
    if kept is None or kept.serves != INT8:
        return MODEL_ONNX
    if precision == FLOAT32:
        log.info("VISION_PRECISION=float32: %s serves, not %s", MODEL_ONNX, MODEL_INT8)
        return MODEL_ONNX
    if not kept.reduce_range and not machine.has_vnni():
        log.warning("%s serves: this processor has no VNNI, without which %s answers wrongly", MODEL_ONNX, MODEL_INT8)
        return MODEL_ONNX
    log.info("%s serves; VISION_PRECISION=float32 serves %s", MODEL_INT8, MODEL_ONNX)
    return MODEL_INT8


@dataclass(frozen=True)
class Read:
    """A request: its image, and what its custom attributes ask of the answer."""

    picture: Picture
    options: Mapping[str, float]


class OnnxEngine:
    """A model, loaded and proven to answer. `answer` and `run` may be called by many threads at once."""

    def __init__(
        self, model_dir: Path, threads: int, reader: Reader | None = None, precision: str = "", keep_memory: bool = True
    ) -> None:
        """Load the artifact in `model_dir`, to compute one prediction on `threads` cores; `reader` reads its images.

        A `precision` of FLOAT32 takes the float graph where model.json names another; `keep_memory` as for `session`.
        Raises ArtifactError when model.json or the graph is missing or broken, or when the two do not fit.
        """
        self.artifact: Artifact = artifacts.read(model_dir)
        self._reader = reader or Reader()
        path = model_dir / graph(self.artifact, precision)
        try:
            self._session = session(path, threads, keep_memory, _UNWANTED)
            self._warm_up()
        except ArtifactError:
            raise
        except Exception as error:  # ONNX Runtime has some fifteen kinds of error and no base class for them
            raise ArtifactError(f"{path} cannot be loaded: {first_line(error)}. Train again to write it.") from error

    @property
    def task(self) -> Task:
        """What the model's task is made of."""
        return TASKS[self.artifact.task]

    def forms(self, batch: bool) -> Sequence[Form[Answer]]:
        """As serve.engine.model.Engine."""
        return self.task.BATCH_FORMS if batch else self.task.FORMS

    def read(self, data: bytes, media: str, attributes: Sequence[tuple[str, str]]) -> Read:
        """As serve.engine.model.Engine."""
        require_image(media)
        options = self.task.options(attributes)
        with explained(data):
            return Read(self._reader.image(data, self.artifact.input), options)

    def respond(self, read: Read, form: Form[Answer]) -> str | bytes:
        """As serve.engine.model.Engine."""
        with explained(read.picture.data):
            answer = self._answer(read.picture)
        with stage(ENCODE):
            return form.encode(replace(answer, values=self.task.postprocess(answer.values, read.options)))

    def answer(self, data: bytes) -> Answer:
        """The bytes of one image file -> what the model says about it.

        Raises preprocess.UnreadableImage for bytes that are not a readable image, and FloatingPointError when the model
        answers with a number that is not finite.
        """
        return self._answer(self._reader.image(data, self.artifact.input))

    def _answer(self, picture: Picture) -> Answer:
        with stage(DECODE):
            tensor, (width, height) = picture.load()
        with stage(MODEL):
            outputs = {name: output[0] for name, output in self.run(tensor[np.newaxis]).items()}
        if not all_finite(outputs):
            raise FloatingPointError("The model answered with numbers that are not finite: its weights are broken.")
        with stage(ENCODE):
            values = self.task.answer(outputs, self.artifact)
        return Answer(values, self.artifact.class_names, width, height, picture.spec)

    def run(self, tensors: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """float32 (N, channels, height, width) -> the graph's outputs by name, as the Artifact describes them."""
        names = self.task.OUTPUTS
        outputs = self._session.run(list(names), {self.artifact.input.name: tensors})
        return dict(zip(names, outputs, strict=True))

    def _warm_up(self) -> None:
        """Predict once, so that the first caller does not wait for it and the shapes are known to fit."""
        spec = self.artifact.input
        outputs = self.run(np.zeros((1, spec.channels, spec.height, spec.width), np.float32))
        if not self.task.fits(outputs, self.artifact):
            answers = " and ".join(f"{output.dtype} {output.shape}" for output in outputs.values())
            raise ArtifactError(
                f"model.onnx answers {answers} for one image, model.json has "
                f"{len(self.artifact.class_names)} class_names and an input of {spec.height} x {spec.width} pixels. "
                "Keep the two files of one training together."
            )
        if not all_finite(outputs):
            raise ArtifactError(
                "model.onnx answers with numbers that are not finite: its weights are broken. Train again."
            )


def all_finite(outputs: Mapping[str, NDArray[np.float32]]) -> bool:
    """Whether no output holds a NaN or an infinity."""
    return all(np.isfinite(output).all() for output in outputs.values())


def first_line(error: Exception) -> str:
    """What an error says, without the stack that ONNX Runtime writes below it."""
    return (sentence(str(error)) or type(error).__name__).rstrip(".")
