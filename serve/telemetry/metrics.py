"""Counts requests for GET /metrics. Prometheus's client library is imported with the first one that reaches a model.

The import takes 40 ms, so it waits until the model is loaded; the refusals before that are counted without it.
"""

import threading
from collections import Counter
from typing import TYPE_CHECKING

from serve.telemetry.shared import Shared
from serve.telemetry.trace import Trace

if TYPE_CHECKING:
    from serve.telemetry.instruments import Instruments

UNCOUNTED = ("/ping", "/metrics")
"""Paths of the platform's own requests."""


class Metrics:
    """What is counted of this process's requests and models. Safe to share by threads."""

    def __init__(self, shared: Shared | None = None) -> None:
        """`shared` is where several worker processes keep their counts."""
        self._shared = shared
        self._lock = threading.Lock()
        self._made: Instruments | None = None
        self._before: Counter[tuple[str, int, str]] = Counter()  # arguments of Instruments.count

    def entered(self, model: str) -> None:
        """A request is inside."""
        self._instruments.of(model).inside.inc()

    def left(self, model: str) -> None:
        """A request is not inside any more."""
        self._instruments.of(model).inside.dec()

    def waits(self, model: str) -> None:
        """A request waits for its turn."""
        self._instruments.of(model).waiting.inc()

    def waited(self, model: str) -> None:
        """A request waits no more."""
        self._instruments.of(model).waiting.dec()

    def answered(self, trace: Trace) -> None:
        """A request is answered."""
        if trace.path in UNCOUNTED:
            return
        counted = trace.model, trace.status, trace.unavailable
        if self._made is None and not trace.stages:
            with self._lock:
                if self._made is None:
                    self._before[counted] += 1
                    return
        self._instruments.count(*counted)
        if trace.stages:
            self._instruments.of(trace.model).observe(trace)

    def loaded(self, model: str, seconds: float, resident: int) -> None:
        """A model was loaded in so many seconds, by which this process has grown by `resident` bytes."""
        self._instruments.loaded(model, seconds, resident)

    def unloaded(self, model: str) -> None:
        """A model was unloaded, and its last request is answered. With several workers, none can be."""
        self._instruments.forget(model)

    def page(self) -> tuple[bytes, str]:
        """All metrics in Prometheus's text format, and its media type."""
        from serve.telemetry.instruments import CONTENT_TYPE

        return self._instruments.page(), CONTENT_TYPE

    @property
    def _instruments(self) -> "Instruments":
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._make()
        return self._made

    def _make(self) -> "Instruments":
        from serve.telemetry.instruments import Instruments

        made = Instruments(self._shared)
        for (model, status, unavailable), times in self._before.items():
            made.count(model, status, unavailable, times)
        return made
