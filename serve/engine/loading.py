"""From a folder to a loaded model: by its task, and by what computes it."""

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
"""Bytes that TensorFlow takes to convert the smallest model. The size of a larger one does not tell what it takes (2.2
GB for a MobileNetV2 of 17 MB), so the kernel ends a conversion before the server when memory runs out."""


class Loader:
    """Loads models, which share the sandbox in which their requests are read. Safe to share by threads."""

    def __init__(self, settings: Settings) -> None:
        sandbox = Sandbox(settings.decode_memory, settings.decode_seconds, settings.admitted, settings.timeout)
        self._reader = SandboxedReader(sandbox, settings.max_pixels)
        self._settings = settings
        self._memory = Memory(settings.body_memory)

    def load(self, folder: Path) -> Engine:
        """Load the model in `folder`, or what the start of this server has converted it to.

        Raises ArtifactError when it is missing or broken.
        """
        if self._settings.engine == TENSORFLOW:
            return self._under_tensorflow(folder)
        return self._under_onnx_runtime(self._settings.converted or folder, folder)

    def load_another(self, folder: Path) -> Engine:
        """Load the model in `folder` beside others; convert it first where a script left it.

        Raises ArtifactError as `load`, and where only TensorFlow can serve the model; OutOfMemory.
        """
        try:
            if not folder.is_dir():
                raise ArtifactError(f"url is {str(folder)!r:.200}, not a folder: give the one that holds the model.")
            found = discovery.find(folder)
        except OSError as error:
            raise ArtifactError(f"{folder} cannot be read: {error.strerror}. Make it readable.") from error
        if found is None:
            with self._memory.reserved(to_load(_graph_bytes(folder))):
                return self._under_onnx_runtime(folder, folder)
        discovery.refuse_handlers(folder)
        with tempfile.TemporaryDirectory(prefix="serve-converted-") as out:
            converted = Path(out)
            self._convert(found, converted)
            with self._memory.reserved(to_load(_graph_bytes(converted))):
                return self._under_onnx_runtime(converted, folder)

    def _convert(self, found: UserModel, out: Path) -> None:
        """Fill `out`. Raises ArtifactError, OutOfMemory."""
        tensorflow = discovery.tensorflow_python()
        if tensorflow is None:
            raise ArtifactError(discovery.no_tensorflow(found))
        size = sum(path.stat().st_size for path in (found.path, *found.path.rglob("*")) if path.is_file())
        with self._memory.reserved(CONVERSION + to_load(size)):
            try:
                said = discovery.convert(found, out, tensorflow, Path(sys.executable))
            except Killed as error:
                raise OutOfMemory(
                    f"The conversion of {found.path} was killed, probably for want of memory; unload other models, or "
                    "give the container more."
                ) from error
            except NotConverted as error:
                raise ArtifactError(
                    f"{found.path} cannot be converted for ONNX Runtime: {error}. TensorFlow serves such a model on an "
                    "endpoint of its own."
                ) from error
        log.info(said)

    def _under_onnx_runtime(self, folder: Path, source: Path) -> Engine:
        """The model in `folder`, which may be what was converted of the one in `source`."""
        threads, keep_memory = self._settings.model_threads, not self._settings.multi_model
        if signature.task(folder) != TENSORS:
            from serve.engine import runtime

            return runtime.OnnxEngine(folder, threads, self._reader, self._settings.precision, keep_memory)
        discovery.refuse_handlers(source)
        from serve.user_model.graphs import Graphs
        from serve.user_model.tensor_engine import TensorEngine

        graphs = Graphs(folder, threads, keep_memory)
        if folder != source:
            _introduce(source, graphs.model, "ONNX Runtime")
        return _telling(TensorEngine(graphs.model, graphs.run, self._settings.image_values, self._reader))

    def _under_tensorflow(self, folder: Path) -> Engine:
        from serve.user_model import saved_model
        from serve.user_model.tensor_engine import TensorEngine

        settings = self._settings
        found = discovery.find(folder, beside_graph=True)
        if found is None:
            raise ArtifactError(f"{folder} holds no SavedModel and no .keras file for TensorFlow to serve.")
        saved_model.set_threads(settings.model_threads)
        exported = settings.converted / discovery.EXPORTED if settings.converted else None
        path = exported if exported and exported.exists() else found.path
        saved = saved_model.load(path, found.name)
        if settings.converted is not None:
            _introduce(folder, saved.model, "TensorFlow")
        return _telling(TensorEngine(saved.model, saved.run, settings.image_values, self._reader))


def _graph_bytes(folder: Path) -> int:
    """Bytes of the graphs in a folder, with the weights beside them.

    An int8 graph does not count: it takes the place of a larger one.
    """
    return sum(path.stat().st_size for path in folder.glob("*.onnx*") if path.is_file() and path.name != MODEL_INT8)


def _telling(engine: "TensorEngine") -> "TensorEngine":
    """The engine, once the log has said what becomes of images, which a wrong range would ruin without a word."""
    if said := engine.images():
        log.info(said)
    return engine


def _introduce(source: Path, model: TensorModel, engine: str) -> None:
    """The line of the log about what is served, where it could not be said before a conversion."""
    log.info("model %s, %s, under %s", source, model, engine)
