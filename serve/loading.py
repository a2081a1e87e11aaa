"""From the settings to a loaded model: by its task, and by what computes it."""

import logging

from serve import left, logs, signature
from serve.artifact import TENSORS, ArtifactError
from serve.forms import Engine
from serve.settings import TENSORFLOW, Settings
from serve.signature import TensorModel

log = logging.getLogger("serve")


def load(settings: Settings) -> Engine:
    """Load the model that the settings name. Raises ArtifactError when it is missing or broken."""
    logs.silence_libtiff()
    if settings.engine == TENSORFLOW:
        return _under_tensorflow(settings)
    folder = settings.converted or settings.model_dir
    if signature.task(folder) == TENSORS:
        from serve.graphs import Graphs
        from serve.tensors import TensorEngine

        graphs = Graphs(folder, settings.model_threads)
        _introduce(settings, graphs.model, "ONNX Runtime")
        return TensorEngine(graphs.model, graphs.run, settings.image_values, settings.max_pixels)
    from serve import engine

    return engine.Engine(folder, settings.model_threads, settings.max_pixels)


def _under_tensorflow(settings: Settings) -> Engine:
    from serve.tensors import TensorEngine
    from serve.tf import convert, saved_model

    found = left.find(settings.model_dir, beside_graph=True)
    if found is None:
        raise ArtifactError(f"{settings.model_dir} holds no SavedModel and no .keras file for TensorFlow to serve.")
    saved_model.set_threads(settings.model_threads)
    exported = settings.converted / convert.SAVED_MODEL if settings.converted else None
    path = exported if exported and exported.exists() else found.path
    saved = saved_model.SavedModel(path, found.name)
    _introduce(settings, saved.model, "TensorFlow")
    return TensorEngine(saved.model, saved.run, settings.image_values, settings.max_pixels)


def _introduce(settings: Settings, model: TensorModel, engine: str) -> None:
    """The line of the log about what is served, where it could not be said before a conversion."""
    if settings.listener is not None:
        log.info("model %s, %s, under %s", settings.model_dir, model, engine)
