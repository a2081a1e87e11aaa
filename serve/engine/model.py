"""The one model of this process: what it can do, and how it is loaded while the server already answers.

What an engine imports must not import Flask: it is loaded in a thread while another imports Flask, and Werkzeug breaks
when two threads import it at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from serve import machine
from serve.http.errors import Unavailable
from serve.tasks.forms import Form

log = logging.getLogger("serve")


_NOT_READY = {
    "loading": "The model is being loaded; try again in a second.",
    "failed": "The model cannot be served; the log of the server says why.",
}


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
    """Loads an engine in a thread of its own. A load that fails calls `on_failure`, which should end the process.

    `state` says how far it is. Once it is ready, `on_ready` is called with the seconds that it took, and the bytes of
    memory by which the process has grown.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        on_failure: Callable[[], None],
        on_ready: Callable[[float, int], None] = lambda seconds, resident: None,
    ) -> None:
        self._load = load
        self._on_failure = on_failure
        self._on_ready = on_ready
        self._engine: Engine | None = None
        self.state: Literal["loading", "ready", "failed"] = "loading"

    def start(self) -> threading.Thread:
        """Begin to load."""
        # No daemon: one that is still in ONNX Runtime when the interpreter ends aborts the process.
        thread = threading.Thread(target=self._run, name="load-model")
        thread.start()
        return thread

    def require_ready(self) -> None:
        """Raise Unavailable, which says why, unless the state is `ready`."""
        state = self.state  # it may change meanwhile
        if state != "ready":
            raise Unavailable(_NOT_READY[state], state)

    def require_engine(self) -> Engine:
        """Return the engine. Raises Unavailable unless the state is `ready`."""
        self.require_ready()
        assert self._engine is not None, "it is set before the state"
        return self._engine

    def _run(self) -> None:
        started, before = time.monotonic(), machine.resident_bytes()
        try:
            engine = self._load()
        except Exception as error:
            # Our own errors are a sentence for the owner of the model; others are ours to look into.
            log.error("The model cannot be served: %s", error, exc_info=not isinstance(error, ValueError))
            self.state = "failed"
            self._on_failure()
            return
        self._engine = engine
        self.state = "ready"
        seconds = time.monotonic() - started
        self._on_ready(seconds, max(0, machine.resident_bytes() - before))
        log.info("model loaded in %.2f s, /ping answers 200", seconds)
