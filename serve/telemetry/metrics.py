"""Collects the metrics that GET /metrics returns, with Prometheus's client library.

Importing the library takes 40 ms, so it is delayed until the first model is loaded. Requests that are refused before
that are counted without it.
"""

import threading
from collections import Counter
from typing import TYPE_CHECKING

from serve.telemetry.shared import Shared
from serve.telemetry.trace import Trace

if TYPE_CHECKING:
    from serve.telemetry.instruments import Instruments

UNCOUNTED = ("/ping", "/metrics")
"""Paths of SageMaker's own requests, which are not counted."""


class Metrics:
    """The metrics of this process's requests and models. Thread-safe."""

    def __init__(self, shared: Shared | None = None) -> None:
        """`shared` holds the metrics of several worker processes."""
        self._shared = shared
        self._lock = threading.Lock()
        self._created: Instruments | None = None
        self._early: Counter[tuple[str, int, str]] = Counter()  # arguments of Instruments.count

    def admitted(self, model: str) -> None:
        """Record that a request was admitted."""
        self._instruments.of(model).in_progress.inc()

    def finished(self, model: str) -> None:
        """Record that an admitted request has finished."""
        self._instruments.of(model).in_progress.dec()

    def wait_started(self, model: str) -> None:
        """Record that a request waits for its turn."""
        self._instruments.of(model).waiting.inc()

    def wait_ended(self, model: str) -> None:
        """Record that a request no longer waits."""
        self._instruments.of(model).waiting.dec()

    def responded(self, trace: Trace) -> None:
        """Record the response to a request."""
        if trace.path in UNCOUNTED:
            return
        labels = trace.model, trace.status, trace.unavailable
        if self._created is None and not trace.stages:
            with self._lock:
                if self._created is None:
                    self._early[labels] += 1
                    return
        self._instruments.count(*labels)
        if trace.stages:
            self._instruments.of(trace.model).observe(trace)

    def loaded(self, model: str, seconds: float, resident: int) -> None:
        """Record that a model was loaded in `seconds` and that the process has grown by `resident` bytes."""
        self._instruments.loaded(model, seconds, resident)

    def unloaded(self, model: str) -> None:
        """Record that a model was unloaded, after its last request. This never happens with several workers."""
        self._instruments.forget(model)

    def page(self) -> tuple[bytes, str]:
        """Return all metrics in Prometheus's text format, and its media type."""
        from serve.telemetry.instruments import CONTENT_TYPE

        return self._instruments.page(), CONTENT_TYPE

    @property
    def _instruments(self) -> "Instruments":
        if self._created is None:
            with self._lock:
                if self._created is None:
                    self._created = self._create()
        return self._created

    def _create(self) -> "Instruments":
        from serve.telemetry.instruments import Instruments

        instruments = Instruments(self._shared)
        for (model, status, unavailable), times in self._early.items():
            instruments.count(model, status, unavailable, times)
        return instruments
