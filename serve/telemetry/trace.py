"""The trace of a request: what is noted while it is answered, for the metrics and the request log."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

RECEIVE, QUEUE, DECODE, MODEL, ENCODE = STAGES = ("receive", "queue", "decode", "model", "encode")
"""To read the body; to wait for a turn; from the body to the model's input, in a child process too; the model itself;
from its outputs to the answer's bytes."""


class Trace:
    """One request. One thread at a time works for it: its own, or in its turn that of the prediction.

    `id` is what the caller calls it, "" for nothing.
    `model` is the name of the model that is asked for a prediction, "" until it is known that there is one: names
    become labels of metrics, so none may be a client's invention. `reason` is why the request was refused, without
    anything of its body, and `unavailable` the word for it where that is a 503. Sizes in bytes.
    """

    def __init__(self, method: str = "", path: str = "", inference_id: str = "") -> None:
        self.id = inference_id
        self.method, self.path = method, path
        self.model = ""
        self.received = self.sent = 0
        self.status = 0
        self.reason = self.unavailable = ""
        self.stages: dict[str, float] = {}
        self._begun = perf_counter()
        self.seconds = 0.0

    def end(self) -> None:
        """The answer is made: `seconds` is how long that took."""
        self.seconds = perf_counter() - self._begun

    def add(self, stage: str, seconds: float) -> None:
        """Note that a stage took so long, beside what it took before."""
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def counted(self, take: Callable[[int], None]) -> Callable[[int], None]:
        """`take`, which is called with the number of bytes that arrive; they are `received` then."""

        def receive(count: int) -> None:
            self.received += count
            take(count)

        return receive


_working_for = threading.local()


def current() -> Trace:
    """The trace that this thread works for; one that nobody reads where there is none, as in training's check."""
    return getattr(_working_for, "trace", None) or Trace()


@contextmanager
def working_for(trace: Trace) -> Iterator[None]:
    """In the block, this thread works for a request."""
    _working_for.trace = trace
    try:
        yield
    finally:
        _working_for.trace = None


class stage:
    """In the block, the request that this thread works for is in a stage of STAGES. Blocks must not be nested."""

    __slots__ = ("_begun", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._begun = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        working_for = getattr(_working_for, "trace", None)
        if working_for is not None:
            working_for.add(self._name, perf_counter() - self._begun)
