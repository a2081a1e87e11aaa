"""The one model of this process: what it can do, and how it is loaded while the server already answers."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from serve.http.errors import Unavailable

if TYPE_CHECKING:  # engines are loaded beside Flask's import, and Werkzeug breaks when two threads import it at once
    from serve.http.headers import Asked
    from serve.tasks.forms import Reply

log = logging.getLogger("serve")


class Engine(Protocol):
    """A loaded model, of whatever task."""

    def understand(self, asked: "Asked") -> "Reply":
        """How a request with these headers will be answered. Raises the ServeError of those that cannot be met."""


class Model:
    """Loads an engine in a thread of its own. A load that fails calls `on_failure`, which should end the process."""

    def __init__(self, load: Callable[[], Engine], on_failure: Callable[[], None]) -> None:
        self._load = load
        self._on_failure = on_failure
        self._engine: Engine | None = None

    def start(self) -> threading.Thread:
        """Begin to load."""
        # No daemon: one that is still in ONNX Runtime when the interpreter ends aborts the process.
        thread = threading.Thread(target=self._run, name="load-model")
        thread.start()
        return thread

    @property
    def engine(self) -> Engine:
        """The engine. Raises Unavailable while it is being loaded."""
        if self._engine is None:
            raise Unavailable("The model is being loaded; try again in a second.")
        return self._engine

    def _run(self) -> None:
        started = time.monotonic()
        try:
            engine = self._load()
        except Exception as error:
            # Our own errors are a sentence for the owner of the model; others are ours to look into.
            log.error("The model cannot be served: %s", error, exc_info=not isinstance(error, ValueError))
            self._on_failure()
            return
        self._engine = engine
        log.info("model loaded in %.2f s, /ping answers 200", time.monotonic() - started)
