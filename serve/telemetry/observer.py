"""Traces each request through the application, and passes the trace to the metrics and the request log."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from serve.settings import Settings
from serve.telemetry.metrics import Metrics
from serve.telemetry.request_log import RequestLog
from serve.telemetry.shared import Shared
from serve.telemetry.trace import QUEUE, Trace, working_for

P = ParamSpec("P")
T = TypeVar("T")

_INFERENCE_ID = "HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID"
_MAX_ID = 64  # the limit of SageMaker's API


class Observer:
    """Observes the requests of this process. Thread-safe.

    `metrics` is None if the settings disable metrics.
    """

    def __init__(self, settings: Settings, shared: Shared | None = None) -> None:
        """`shared` holds the metrics of several worker processes."""
        self.metrics = Metrics(shared) if settings.metrics else None
        self._log = RequestLog(settings.log_requests)

    def trace_requests(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Wrap a WSGI application so that each request has a Trace."""

        def traced_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # the same as in Werkzeug
            trace = Trace(environ["REQUEST_METHOD"], path, environ.get(_INFERENCE_ID, "")[:_MAX_ID])

            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                trace.status = int(status[:3])
                trace.sent = int(dict(headers).get("Content-Length", 0))
                return start_response(status, headers, *more)

            with working_for(trace):
                response = application(environ, start)
            self._record(trace)
            return response

        return traced_application

    def refused(self, status: int, reason: str) -> None:
        """Record the response to a request that could not be read and did not reach the application."""
        trace = Trace()
        trace.status, trace.reason = status, reason
        self._record(trace)

    @contextmanager
    def in_progress(self, trace: Trace) -> Iterator[None]:
        """Count the request as in progress while the block runs."""
        if self.metrics is None:
            yield
            return
        self.metrics.admitted(trace.model)
        try:
            yield
        finally:
            self.metrics.finished(trace.model)

    @contextmanager
    def waiting(self, trace: Trace, function: Callable[P, T]) -> Iterator[Callable[P, T]]:
        """Count the request as waiting until the yielded wrapper of `function` is called or the block ends."""
        start = perf_counter()
        waits = True

        def end_wait() -> None:
            nonlocal waits
            if waits:
                waits = False
                trace.add(QUEUE, perf_counter() - start)
                if self.metrics is not None:
                    self.metrics.wait_ended(trace.model)

        def turn(*args: P.args, **kwargs: P.kwargs) -> T:
            end_wait()
            with working_for(trace):
                return function(*args, **kwargs)

        if self.metrics is not None:
            self.metrics.wait_started(trace.model)
        try:
            yield turn
        finally:
            end_wait()

    def _record(self, trace: Trace) -> None:
        trace.end()
        if self.metrics is not None:
            self.metrics.responded(trace)
        self._log.write(trace)
