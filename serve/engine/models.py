"""The models of this process, by name: loaded and unloaded while the others answer. A server of one model holds one."""

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
"""A folder -> its engine. Raises ArtifactError, or the ServeError of what cannot be now."""

ONLY = "model"
"""The name of a server's only model."""

PAUSE = 1.0
"""Seconds until models for which there was no memory are tried again. Twice as many each time, up to a minute."""


class Models:
    """Any number of models. Safe to share by threads: one name is loaded or unloaded by one at a time."""

    def __init__(self, loader: Callable[[], Load], loaded: Loaded, metrics: Metrics | None = None) -> None:
        """`loader` is called once, before anything is loaded. `loaded` is kept in step with what is, and `metrics`."""
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
        """The model of that name, which may not be ready. Raises NotLoaded."""
        model = self._models.get(name)
        if model is None:
            raise not_loaded(name)
        return model

    def page(self, after: str, count: int) -> tuple[list[Model], bool]:
        """The first `count` models whose names come after `after`, in order of their names; whether there are more."""
        names = sorted(self._models.copy())
        begin = bisect_right(names, after)
        found = [self._models.get(name) for name in names[begin : begin + count]]
        return [model for model in found if model is not None], begin + count < len(names)

    def load(self, name: str, folder: Path) -> Model:
        """Load a model and return it, ready to answer.

        Raises AlreadyLoaded, BadRequest for a folder that cannot be served, OutOfMemory.
        """
        with self._alone(name):
            known = self._models.get(name)  # it may wait to be restored
            model = known or Model(name, folder)
            try:
                self._fill(model)
            except ArtifactError as error:
                raise BadRequest(f"Model {name:.100} cannot be served: {error}") from error
            if known is not None:
                raise AlreadyLoaded(f"Model {name:.100} is loaded already; unload it by DELETE /models/{name:.100}.")
            self._loaded.add(name, folder)  # before anyone is answered: whatever answers is restored
            self._models[name] = model
        log.info("model %s loaded from %s in %.2f s, %.0f MB", name, folder, model.seconds, model.memory / 1e6)
        return model

    def unload(self, name: str) -> Model:
        """Unload a model, once its requests are answered; return it when its memory is free. Raises NotLoaded."""
        with self._alone(name):
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
        """Load, in a thread that is returned, what `loaded` names. Until then those models raise Unavailable.

        One that cannot be loaded is `give_up`'s, which should end the process. Without it the model is forgotten, or,
        where only memory is missing, tried again until it is there.
        """
        self._models = {name: Model(name, folder) for name, folder in self._loaded.to_restore().items()}
        # No daemon: one that is still in ONNX Runtime when the interpreter ends aborts the process.
        thread = threading.Thread(target=self._restore, args=(list(self._models.values()), give_up), name="load-models")
        thread.start()
        return thread

    def close(self) -> None:
        """Leave models alone that wait for memory to be restored: the process is to end."""
        self._closed.set()

    def _restore(self, models: Sequence[Model], give_up: Callable[[], None] | None) -> None:
        begun = time.monotonic()
        self._prepared()
        waiting, pause = [model for model in models if not self._restore_one(model, give_up)], PAUSE
        while waiting:
            if self._closed.wait(pause):
                return
            waiting, pause = [model for model in waiting if not self._restore_one(model, give_up)], min(60, 2 * pause)
        if give_up is None or all(model.state == "ready" for model in models):
            seconds = time.monotonic() - begun
            log.info("%s loaded in %.2f s, /ping answers 200", plural(len(self._models), "model"), seconds)

    def _restore_one(self, model: Model, give_up: Callable[[], None] | None) -> bool:
        """Whether that is done: not where the model has to wait for memory."""
        with self._alone(model.name):
            if self._models.get(model.name) is not model:  # unloaded meanwhile
                return True
            self._loaded.trying(model.name)
            try:
                self._fill(model)
            except OutOfMemory as error:
                self._loaded.waiting(model.name)
                log.warning("model %s waits to be loaded again: %s", model.name, error)
                return False
            except Exception as error:
                # Our own errors are a sentence for the owner of the model; others are ours to look into.
                expected = isinstance(error, ValueError | ServeError)
                which = "The model" if give_up is not None else f"Model {model.name}"
                log.error("%s cannot be served: %s", which, error, exc_info=not expected)
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
        """Make a model ready that is not."""
        if model.state == "ready":
            return
        load = self._prepared()
        begun, before = time.monotonic(), machine.resident_bytes()
        try:
            model.serve(load(model.folder))
        finally:
            machine.give_back_memory()
        model.seconds = time.monotonic() - begun
        model.memory = max(0, machine.resident_bytes() - before)
        if self._metrics is not None:
            self._metrics.loaded(model.name, model.seconds, model.memory)

    def _prepared(self) -> Load:
        with self._preparing:
            if self._load is None:
                self._load = self._loader()
                gc.freeze()  # what is imported never goes: without it each collection holds all requests up for 30 ms
            return self._load

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Be the only one that loads or unloads this name."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy)
            self._busy.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._busy.remove(name)
                self._changed.notify_all()
