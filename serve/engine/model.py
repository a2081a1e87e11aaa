"""A model by its name: what it can do, and whether it is loaded.

What an engine imports must not import Flask: it is loaded in a thread while another imports Flask, and Werkzeug breaks
when two threads import it at once.
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
    "failed": "The model cannot be served; the log of the server says why.",
}
_COLLECT_SECONDS = 0.05  # between two looks for references in cycles, which an exception may leave
_COLLECTIONS = 200


class Engine(Protocol):
    """A loaded model, of whatever task. A request goes through it in two steps, many at once in threads."""

    def forms(self, batch: bool) -> Sequence[Form[Any]]:
        """The forms in which it can answer, the one for any wish first; `batch`: in batch transform."""

    def read(self, data: bytes, media: str, attributes: Sequence[tuple[str, str]]) -> Any:
        """A request's body, its media type and custom attributes -> what `respond` takes.

        What a body can make expensive is done here, in a sandbox. Raises the ServeError of what cannot be met.
        """

    def respond(self, read: Any, form: Form[Any]) -> str | bytes:
        """Compute, in the prediction's turn, and write the answer. Raises ServeError, FloatingPointError."""


class Model:
    """A model of this process: its `name`, the `folder` it is loaded from, and its engine while it is `ready`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.state: Literal["loading", "ready", "failed", "unloaded"] = "loading"
        self.seconds = 0.0  # that it took to load
        self.memory = 0  # bytes by which this process has grown for it
        self._engine: Engine | None = None
        self._users = 0
        self._changed = threading.Condition()

    def serve(self, engine: Engine) -> None:
        """From now on be ready, by this engine."""
        with self._changed:
            self._engine, self.state = engine, "ready"

    def fail(self) -> None:
        """From now on say that the model cannot be served."""
        self.state = "failed"

    def require_ready(self) -> None:
        """Raise Unavailable, which says why, unless the state is `ready`; NotLoaded when it was."""
        state = self.state  # it may change meanwhile
        if state == "unloaded":
            raise not_loaded(self.name)
        if state != "ready":
            raise Unavailable(_NOT_READY[state], state)

    @contextmanager
    def used(self) -> Iterator[Engine]:
        """The engine, which is not released before the block ends. Raises as require_ready."""
        with self._changed:
            self.require_ready()
            assert self._engine is not None, "it is set before the state"
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
        """Let the requests that use the engine end, and return when nothing of it is left in memory."""
        with self._changed:
            self.state = "unloaded"
            self._changed.wait_for(lambda: not self._users)
            engine, self._engine = self._engine, None
        gone = threading.Event()
        reference = weakref.ref(engine, lambda _: gone.set()) if engine is not None else None
        del engine
        if reference is None:
            return
        # A request's thread, which has just left, may hold it for a moment; an exception's cycle until it is collected.
        for _ in range(_COLLECTIONS):
            gc.collect()
            if gone.wait(_COLLECT_SECONDS):
                return
        log.warning("the memory of model %s is still held after it was unloaded", self.name)


def not_loaded(name: str) -> NotLoaded:
    """The error for a name that no loaded model has."""
    return NotLoaded(f"Model {name:.100} is not loaded; load it by POST /models.")
