"""From the settings to a loaded model: by its task, and by what computes it."""

import logging
from typing import TYPE_CHECKING

from serve.artifact import TENSORS, ArtifactError
from serve.engine.model import Engine
from serve.engine.reader import Reader, SandboxedReader
from serve.engine.sandbox import Sandbox
from serve.settings import TENSORFLOW, Settings
from serve.user_model import finding, signature
from serve.user_model.signature import TensorModel

if TYPE_CHECKING:
    from serve.user_model.tensor_engine import TensorEngine

log = logging.getLogger("serve")


def load(settings: Settings) -> Engine:
    """Load the model that the settings name. Raises ArtifactError when it is missing or broken."""
    sandbox = Sandbox(settings.decode_memory, settings.decode_seconds, settings.admitted, settings.timeout)
    reader = SandboxedReader(sandbox, settings.max_pixels)
    if settings.engine == TENSORFLOW:
        return _under_tensorflow(settings, reader)
    folder = settings.converted or settings.model_dir
    if signature.task(folder) == TENSORS:
        from serve.user_model.graphs import Graphs
        from serve.user_model.tensor_engine import TensorEngine

        graphs = Graphs(folder, settings.model_threads)
        _introduce(settings, graphs.model, "ONNX Runtime")
        return _telling(TensorEngine(graphs.model, graphs.run, settings.image_values, reader))
    from serve.engine import runtime

    return runtime.OnnxEngine(folder, settings.model_threads, reader, settings.precision)


def _under_tensorflow(settings: Settings, reader: Reader) -> Engine:
    from serve.user_model import saved_model
    from serve.user_model.tensor_engine import TensorEngine

    found = finding.find(settings.model_dir, beside_graph=True)
    if found is None:
        raise ArtifactError(f"{settings.model_dir} holds no SavedModel and no .keras file for TensorFlow to serve.")
    saved_model.set_threads(settings.model_threads)
    exported = settings.converted / finding.EXPORTED if settings.converted else None
    path = exported if exported and exported.exists() else found.path
    saved = saved_model.load(path, found.name)
    _introduce(settings, saved.model, "TensorFlow")
    return _telling(TensorEngine(saved.model, saved.run, settings.image_values, reader))


def _telling(engine: "TensorEngine") -> "TensorEngine":
    """The engine, once the log has said what becomes of images, which a wrong range would ruin without a word."""
    if said := engine.images():
        log.info(said)
    return engine


def _introduce(settings: Settings, model: TensorModel, engine: str) -> None:
    """The line of the log about what is served, where it could not be said before a conversion."""
    if settings.converted is not None:
        log.info("model %s, %s, under %s", settings.model_dir, model, engine)
