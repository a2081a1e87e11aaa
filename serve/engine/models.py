"""The models of this process by name, which can be loaded and unloaded while others serve requests."""

import gc
import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serve import machine
from serve.artifact import ArtifactError
from serve.engine.loaded import Loaded
from serve.engine.model import Engine, Model, not_loaded
from serve.http.errors import AlreadyLoaded, BadRequest, OutOfMemory, ServeError
from serve.telemetry.metrics import Metrics
from serve.words import plural

log = logging.getLogger("serve")

Load = Callable[[Path], Engine]
"""Loads the model in a folder. Raises ArtifactError, or a ServeError for temporary problems."""

ONLY = "model"
"""The name of the model of a single-model server."""

PAUSE = 1.0
"""Seconds before the server tries again to load a model after memory ran out. Doubled each time, up to a minute."""


class Models:
    """Any number of models. Thread-safe: only one thread at a time loads or unloads a given name."""

    def __init__(self, loader: Callable[[], Load], loaded: Loaded, metrics: Metrics | None = None) -> None:
        """`loader` is called once, before the first load. `loaded` and `metrics` are updated with every change."""
        self._loader = loader
        self._metrics = metrics
        self._load: Load | None = None
        self._preparing = threading.Lock()
        self._loaded = loaded
        self._models: dict[str, Model] = {}
        self._busy: set[str] = set()
        self._changed = threading.Condition()
        self._closed = threading.Event()

    def get(self, name: str) -> Model:
        """Return the model `name`, which may not be ready. Raises NotLoaded."""
        model = self._models.get(name)
        if model is None:
            raise not_loaded(name)
        return model

    def page(self, after: str, count: int) -> tuple[list[Model], bool]:
        """Return up to `count` models with names after `after`, sorted by name, and whether there are more."""
        names = sorted(self._models.copy())
        begin = bisect_right(names, after)
        models = [self._models.get(name) for name in names[begin : begin + count]]
        return [model for model in models if model is not None], begin + count < len(names)

    def load(self, name: str, folder: Path) -> Model:
        """Load a model and return it, ready for requests.

        Raises AlreadyLoaded, BadRequest if the folder cannot be served, and OutOfMemory.
        """
        with self._exclusive(name):
            known = self._models.get(name)  # it may be waiting to be restored
            model = known or Model(name, folder)
            try:
                self._fill(model)
            except ArtifactError as error:
                raise BadRequest(f"Model {name:.100} cannot be served: {error}") from error
            if known is not None:
                raise AlreadyLoaded(f"Model {name:.100} is already loaded; unload it with DELETE /models/{name:.100}.")
            self._loaded.add(name, folder)  # before the first request, so that a new worker restores every served model
            self._models[name] = model
        log.info("model %s loaded from %s in %.2f s, %.0f MB", name, folder, model.seconds, model.memory / 1e6)
        return model

    def unload(self, name: str) -> Model:
        """Unload a model after its last request; return it when its memory is free. Raises NotLoaded."""
        with self._exclusive(name):
            model = self.get(name)
            del self._models[name]
            self._loaded.remove(name)
            model.release()
            machine.give_back_memory()
            if self._metrics is not None:
                self._metrics.unloaded(name)
        log.info("model %s unloaded", name)
        return model

    def restore(self, give_up: Callable[[], None] | None = None) -> threading.Thread:
        """Load the models in `loaded` in a background thread, and return the thread. They are unavailable until loaded.

        If a model cannot be loaded, call `give_up`, which should end the process. Without `give_up`, forget the model,
        or try again later if it only lacks memory.
        """
        self._models = {name: Model(name, folder) for name, folder in self._loaded.to_restore().items()}
        # Not a daemon thread: if one is still in ONNX Runtime when the interpreter exits, the process aborts.
        thread = threading.Thread(target=self._restore, args=(list(self._models.values()), give_up), name="load-models")
        thread.start()
        return thread

    def close(self) -> None:
        """Stop trying to restore models that wait for memory. Called when the process is about to end."""
        self._closed.set()

    def _restore(self, models: Sequence[Model], give_up: Callable[[], None] | None) -> None:
        start = time.monotonic()
        self._get_loader()
        waiting, pause = [model for model in models if not self._restore_one(model, give_up)], PAUSE
        while waiting:
            if self._closed.wait(pause):
                return
            waiting, pause = [model for model in waiting if not self._restore_one(model, give_up)], min(60, 2 * pause)
        if give_up is None or all(model.state == "ready" for model in models):
            seconds = time.monotonic() - start
            log.info("%s loaded in %.2f s, /ping returns 200", plural(len(self._models), "model"), seconds)

    def _restore_one(self, model: Model, give_up: Callable[[], None] | None) -> bool:
        """Restore a model. Return False if it has to wait for memory."""
        with self._exclusive(model.name):
            if self._models.get(model.name) is not model:  # it was unloaded
                return True
            self._loaded.start_loading(model.name)
            try:
                self._fill(model)
            except OutOfMemory as error:
                self._loaded.postpone(model.name)
                log.warning("model %s will be loaded again later: %s", model.name, error)
                return False
            except Exception as error:
                # Our own errors are one sentence for the model's owner. Others are bugs and need a traceback.
                expected = isinstance(error, ValueError | ServeError)
                subject = "The model" if give_up is not None else f"Model {model.name}"
                log.error("%s cannot be served: %s", subject, error, exc_info=not expected)
                model.fail()
                if give_up is not None:
                    give_up()
                    return True
                del self._models[model.name]
                self._loaded.remove(model.name)
            else:
                self._loaded.add(model.name, model.folder)
            return True

    def _fill(self, model: Model) -> None:
        """Load a model unless it is ready."""
        if model.state == "ready":
            return
        load = self._get_loader()
        start, before = time.monotonic(), machine.resident_bytes()
        try:
            model.serve(load(model.folder))
        finally:
            machine.give_back_memory()
        model.seconds = time.monotonic() - start
        model.memory = max(0, machine.resident_bytes() - before)
        if self._metrics is not None:
            self._metrics.loaded(model.name, model.seconds, model.memory)

    def _get_loader(self) -> Load:
        with self._preparing:
            if self._load is None:
                self._load = self._loader()
                gc.freeze()  # imported objects stay forever; otherwise each collection blocks all requests for 30 ms
            return self._load

    @contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        """Prevent other threads from loading or unloading this name while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy)
            self._busy.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._busy.remove(name)
                self._changed.notify_all()
