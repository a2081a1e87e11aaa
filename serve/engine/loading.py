"""Loads the model in a folder into the engine for its task."""

import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from serve.artifact import MODEL_INT8, TENSORS, ArtifactError
from serve.engine.memory import Memory, to_load
from serve.engine.model import Engine
from serve.engine.reader import SandboxedReader
from serve.engine.sandbox import Sandbox
from serve.http.errors import OutOfMemory
from serve.settings import TENSORFLOW, Settings
from serve.user_model import discovery, signature
from serve.user_model.discovery import Killed, NotConverted, UserModel
from serve.user_model.signature import TensorModel

if TYPE_CHECKING:
    from serve.user_model.tensor_engine import TensorEngine

log = logging.getLogger("serve")

CONVERSION = 600 * 10**6
"""Bytes that TensorFlow needs to convert the smallest model. How much more a larger model needs cannot be predicted
from its size (2.2 GB for a MobileNetV2 of 17 MB), so if memory runs out, the kernel kills conversions before the
server."""


class Loader:
    """Loads models, which share one sandbox for reading requests. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        # Half of the queue, so that expensive requests leave room for others.
        queue = settings.queue // 2
        sandbox = Sandbox(settings.decode_memory, settings.decode_seconds, settings.admitted, queue, settings.timeout)
        self._reader = SandboxedReader(sandbox, settings.max_pixels)
        self._settings = settings
        self._memory = Memory(settings.body_memory)

    def load(self, folder: Path) -> Engine:
        """Load the model in `folder`, or its conversion if the server converted it at startup.

        Raises ArtifactError if it is missing or broken.
        """
        if self._settings.engine == TENSORFLOW:
            return self._with_tensorflow(folder)
        return self._with_onnx_runtime(self._settings.converted or folder, folder)

    def load_another(self, folder: Path) -> Engine:
        """Load the model in `folder` in addition to others. Convert it first if it is a script's model.

        Raises ArtifactError like `load`, and if only TensorFlow can serve the model; raises OutOfMemory.
        """
        try:
            if not folder.is_dir():
                raise ArtifactError(f"url is {str(folder)!r:.200}, not a folder: use the folder that holds the model.")
            user_model = discovery.find(folder)
        except OSError as error:
            raise ArtifactError(f"{folder} cannot be read: {error.strerror}. Make it readable.") from error
        if user_model is None:
            with self._memory.reserved(to_load(_graph_bytes(folder))):
                return self._with_onnx_runtime(folder, folder)
        discovery.refuse_handlers(folder)
        with tempfile.TemporaryDirectory(prefix="serve-converted-") as out:
            converted = Path(out)
            self._convert(user_model, converted)
            with self._memory.reserved(to_load(_graph_bytes(converted))):
                return self._with_onnx_runtime(converted, folder)

    def _convert(self, user_model: UserModel, out: Path) -> None:
        """Convert the model into the folder `out`. Raises ArtifactError, OutOfMemory."""
        tensorflow = discovery.tensorflow_python()
        if tensorflow is None:
            raise ArtifactError(discovery.no_tensorflow(user_model))
        path = user_model.path
        size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
        with self._memory.reserved(CONVERSION + to_load(size)):
            try:
                message = discovery.convert(user_model, out, tensorflow, Path(sys.executable))
            except Killed as error:
                raise OutOfMemory(
                    f"The conversion of {path} was killed, probably because memory ran out; unload other models, or "
                    "give the container more memory."
                ) from error
            except NotConverted as error:
                raise ArtifactError(
                    f"{path} cannot be converted for ONNX Runtime: {error}. Use a single-model endpoint, which can "
                    "serve it with TensorFlow."
                ) from error
        log.info(message)

    def _with_onnx_runtime(self, folder: Path, source: Path) -> Engine:
        """Load the model in `folder`, which may be the conversion of the one in `source`."""
        threads, keep_memory = self._settings.model_threads, not self._settings.multi_model
        if signature.task(folder) != TENSORS:
            from serve.engine import runtime

            return runtime.OnnxEngine(folder, threads, self._reader, self._settings.precision, keep_memory)
        discovery.refuse_handlers(source)
        from serve.user_model.graphs import Graphs
        from serve.user_model.tensor_engine import TensorEngine

        graphs = Graphs(folder, threads, keep_memory)
        if folder != source:
            _log_model(source, graphs.model, "ONNX Runtime")
        return _log_image_values(TensorEngine(graphs.model, graphs.run, self._settings.image_values, self._reader))

    def _with_tensorflow(self, folder: Path) -> Engine:
        from serve.user_model import saved_model
        from serve.user_model.tensor_engine import TensorEngine

        settings = self._settings
        user_model = discovery.find(folder, ignore_graph=True)
        if user_model is None:
            raise ArtifactError(f"{folder} has no SavedModel or .keras file for TensorFlow to serve.")
        saved_model.set_threads(settings.model_threads)
        exported = settings.converted / discovery.EXPORTED if settings.converted else None
        path = exported if exported and exported.exists() else user_model.path
        saved = saved_model.load(path, user_model.name)
        if settings.converted is not None:
            _log_model(folder, saved.model, "TensorFlow")
        return _log_image_values(TensorEngine(saved.model, saved.run, settings.image_values, self._reader))


def _graph_bytes(folder: Path) -> int:
    """Return the size of the graphs in a folder in bytes, including external weights.

    An int8 graph does not count, because it is loaded in place of a larger one.
    """
    return sum(path.stat().st_size for path in folder.glob("*.onnx*") if path.is_file() and path.name != MODEL_INT8)


def _log_image_values(engine: "TensorEngine") -> "TensorEngine":
    """Log how the engine scales images, because a wrong range silently ruins predictions, and return the engine."""
    if message := engine.image_values_message():
        log.info(message)
    return engine


def _log_model(source: Path, model: TensorModel, engine: str) -> None:
    """Log which model is served, once it is known after a conversion."""
    log.info("model %s, %s, with %s", source, model, engine)
