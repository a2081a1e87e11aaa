"""A model with its name and state, and the interface of the engines.

Engines must not import Flask. They are imported in one thread while another thread imports Flask, and Werkzeug breaks
if two threads import it at the same time.
"""

import gc
import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from serve.http.errors import NotLoaded, Unavailable
from serve.tasks.forms import Form

log = logging.getLogger("serve")

_NOT_READY = {
    "loading": "The model is being loaded; try again in a second.",
    "failed": "The model cannot be served; see the server's log.",
}
_COLLECT_SECONDS = 0.05  # between collections of reference cycles, which an exception may leave
_COLLECTIONS = 200


class Engine(Protocol):
    """A loaded model for any task. Each request takes two steps, and many threads may call both concurrently."""

    def forms(self, batch: bool) -> Sequence[Form[Any]]:
        """Return the response formats, the default one first. `batch` selects those of batch transform."""

    def read(self, data: bytes, media: str, attributes: Sequence[tuple[str, str]]) -> Any:
        """Parse a request's body, media type and custom attributes, and return the argument of `respond`.

        Expensive bodies are processed here, in a sandbox. Raises a ServeError for invalid requests.
        """

    def respond(self, read: Any, form: Form[Any]) -> str | bytes:
        """Compute and encode the prediction when the request's turn comes. Raises ServeError, FloatingPointError."""


class Model:
    """A model in this process: its `name`, the `folder` it is loaded from, and its engine while it is `ready`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.state: Literal["loading", "ready", "failed", "unloaded"] = "loading"
        self.seconds = 0.0  # load time
        self.memory = 0  # bytes by which the process has grown
        self._engine: Engine | None = None
        self._users = 0
        self._changed = threading.Condition()

    def serve(self, engine: Engine) -> None:
        """Become ready, with this engine."""
        with self._changed:
            self._engine, self.state = engine, "ready"

    def fail(self) -> None:
        """Mark the model as one that cannot be served."""
        self.state = "failed"

    def require_ready(self) -> None:
        """Raise NotLoaded if the model was unloaded, and Unavailable with the reason if it is not ready."""
        state = self.state  # read only once, because it may change at any time
        if state == "unloaded":
            raise not_loaded(self.name)
        if state != "ready":
            raise Unavailable(_NOT_READY[state], state)

    @contextmanager
    def used(self) -> Iterator[Engine]:
        """Yield the engine and keep it loaded until the block ends. Raises like require_ready."""
        with self._changed:
            self.require_ready()
            assert self._engine is not None, "set together with the state"
            engine = self._engine
            self._users += 1
        try:
            yield engine
        finally:
            del engine
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def release(self) -> None:
        """Wait for the requests that use the engine, unload it, and return when its memory is free."""
        with self._changed:
            self.state = "unloaded"
            self._changed.wait_for(lambda: not self._users)
            engine, self._engine = self._engine, None
        gone = threading.Event()
        reference = weakref.ref(engine, lambda _: gone.set()) if engine is not None else None
        del engine
        if reference is None:
            return
        # The last request's thread may keep the engine for a moment, and an exception in a reference cycle may keep it
        # until the cycle is collected.
        for _ in range(_COLLECTIONS):
            gc.collect()
            if gone.wait(_COLLECT_SECONDS):
                return
        log.warning("model %s was unloaded, but its memory is still in use", self.name)


def not_loaded(name: str) -> NotLoaded:
    """Return the error for a model that is not loaded."""
    return NotLoaded(f"Model {name:.100} is not loaded; load it with POST /models.")
