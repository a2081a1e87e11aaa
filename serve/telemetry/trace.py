"""The trace of a request, which collects data for the metrics and the request log."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

RECEIVE, QUEUE, DECODE, MODEL, ENCODE = STAGES = ("receive", "queue", "decode", "model", "encode")
"""Reading the body; waiting for a turn; decoding the body into the model's input, possibly in a child process; the
model itself; encoding its outputs into the response."""


class Trace:
    """One request. Only one thread works on it at a time: its own thread, or that of the prediction.

    - `id`: the client's name for the request, or "".
    - `model`: the name of the requested model, or "" until it is known to exist. Names become metric labels, so
      clients must not be able to invent them.
    - `reason`: why the request was refused, without data from its body.
    - `unavailable`: the metric label of the reason for a 503, or "".
    - `received`, `sent`: sizes in bytes.
    """

    def __init__(self, method: str = "", path: str = "", inference_id: str = "") -> None:
        self.id = inference_id
        self.method, self.path = method, path
        self.model = ""
        self.received = self.sent = 0
        self.status = 0
        self.reason = self.unavailable = ""
        self.stages: dict[str, float] = {}
        self._start = perf_counter()
        self.seconds = 0.0

    def end(self) -> None:
        """Set `seconds` to the time since the start."""
        self.seconds = perf_counter() - self._start

    def add(self, stage: str, seconds: float) -> None:
        """Add to the duration of a stage."""
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def count_received(self, take: Callable[[int], None]) -> Callable[[int], None]:
        """Wrap `take`, which is called with the size of each chunk, so that it also counts the `received` bytes."""

        def receive(count: int) -> None:
            self.received += count
            take(count)

        return receive


_working_for = threading.local()


def current() -> Trace:
    """Return the trace of this thread's request, or an unused Trace if there is none, as in serve.engine.check."""
    return getattr(_working_for, "trace", None) or Trace()


@contextmanager
def working_for(trace: Trace) -> Iterator[None]:
    """Make `trace` the current trace of this thread while the block runs."""
    _working_for.trace = trace
    try:
        yield
    finally:
        _working_for.trace = None


class stage:
    """Measures a block as a stage (see STAGES) of this thread's request. Blocks must not be nested."""

    __slots__ = ("_name", "_start")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._start = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        trace = getattr(_working_for, "trace", None)
        if trace is not None:
            trace.add(self._name, perf_counter() - self._start)
