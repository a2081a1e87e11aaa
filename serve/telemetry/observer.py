"""A trace for each request, from the application's first line to its last; then the metrics and the log have it."""

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
_LONGEST_ID = 64  # as SageMaker's API has it


class Observer:
    """Watches the requests of this process. Safe to share by threads.

    `metrics` is None where the settings want none.
    """

    def __init__(self, settings: Settings, shared: Shared | None = None) -> None:
        """`shared` is where several worker processes keep their counts."""
        self.metrics = Metrics(shared) if settings.metrics else None
        self._log = RequestLog(settings.log_requests)

    def traced(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """The WSGI application, which works for a Trace then."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # as Werkzeug reads it
            trace = Trace(environ["REQUEST_METHOD"], path, environ.get(_INFERENCE_ID, "")[:_LONGEST_ID])

            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                trace.status = int(status[:3])
                trace.sent = int(dict(headers).get("Content-Length", 0))
                return start_response(status, headers, *more)

            with working_for(trace):
                answered = application(environ, start)
            self._ended(trace)
            return answered

        return answer

    def refused(self, status: int, reason: str) -> None:
        """A request was answered that the application has not seen, as it could not be read."""
        trace = Trace()
        trace.status, trace.reason = status, reason
        self._ended(trace)

    @contextmanager
    def inside(self, trace: Trace) -> Iterator[None]:
        """In the block, the request is inside."""
        if self.metrics is None:
            yield
            return
        self.metrics.entered(trace.model)
        try:
            yield
        finally:
            self.metrics.left(trace.model)

    @contextmanager
    def waiting(self, trace: Trace, function: Callable[P, T]) -> Iterator[Callable[P, T]]:
        """From now on the request waits for its turn, in which what is given is to be called in place of `function`."""
        begun = perf_counter()
        waits = True

        def wait_no_more() -> None:
            nonlocal waits
            if waits:
                waits = False
                trace.add(QUEUE, perf_counter() - begun)
                if self.metrics is not None:
                    self.metrics.waited(trace.model)

        def turn(*args: P.args, **kwargs: P.kwargs) -> T:
            wait_no_more()
            with working_for(trace):
                return function(*args, **kwargs)

        if self.metrics is not None:
            self.metrics.waits(trace.model)
        try:
            yield turn
        finally:
            wait_no_more()

    def _ended(self, trace: Trace) -> None:
        trace.end()
        if self.metrics is not None:
            self.metrics.answered(trace)
        self._log.write(trace)
