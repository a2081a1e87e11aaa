"""The engine: model.onnx under ONNX Runtime, from the bytes of an image to its probabilities."""

import os
from pathlib import Path

import numpy as np

# ONNX Runtime reports its sessions to its makers unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from serve import artifact as artifacts
from serve import preprocess
from serve.artifact import MODEL_ONNX, Artifact, ArtifactError

_ERRORS_ONLY = 3


class Engine:
    """A model, loaded and proven to answer. `classify` and `run` may be called by many threads at once."""

    def __init__(self, model_dir: Path, threads: int, max_pixels: int = preprocess.MAX_PIXELS) -> None:
        """Load the artifact in `model_dir`, to compute one prediction on `threads` cores.

        Raises ArtifactError when model.json or model.onnx is missing or broken, or when the two do not fit.
        """
        self.artifact: Artifact = artifacts.read(model_dir)
        self._max_pixels = max_pixels
        path = Path(model_dir) / MODEL_ONNX
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS_ONLY
        # Threads that spin while they wait for work take it from the other predictions and from /ping.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self._warm_up()
        except ArtifactError:
            raise
        except Exception as error:  # ONNX Runtime has some fifteen kinds of error and no base class for them
            raise ArtifactError(f"{path} cannot be loaded: {_first_line(error)}. Train again to write it.") from error

    def classify(self, data: bytes) -> np.ndarray:
        """The bytes of one image file -> probabilities, float32 (classes,).

        Raises preprocess.UnreadableImage for bytes that are no readable image, FloatingPointError when the model
        answers with a number that is not finite.
        """
        tensor = preprocess.load(data, self.artifact.input, self._max_pixels)
        probabilities = self.run(tensor[np.newaxis])[0]
        if not np.isfinite(probabilities).all():
            raise FloatingPointError("The model answered with numbers that are not finite: its weights are broken.")
        return probabilities

    def run(self, tensors: np.ndarray) -> np.ndarray:
        """float32 (N, channels, height, width) -> the graph's output `probabilities`, float32 (N, classes)."""
        return self._session.run(["probabilities"], {self.artifact.input.name: tensors})[0]

    def _warm_up(self) -> None:
        """Predict once, so that the first caller does not wait for it and the shapes are known to fit."""
        spec = self.artifact.input
        output = self.run(np.zeros((1, spec.channels, spec.height, spec.width), np.float32))
        if output.shape != (1, len(self.artifact.class_names)) or output.dtype != np.float32:
            raise ArtifactError(
                f"model.onnx answers {output.dtype} {output.shape} for one image, model.json has "
                f"{len(self.artifact.class_names)} class_names. Keep the two files of one training together."
            )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
