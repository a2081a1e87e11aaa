"""Admission: so many predictions at once, so many more in line, and a refusal at once beyond; fair among models."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from serve.http.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_Turn = tuple["Future[Any]", Callable[[], Any]]


class Gate:
    """Bounds the requests inside, and within them the predictions at once; each model has a line of its own.

    Within a line who comes first is served first. The next turn goes to the line with the fewest predictions running;
    of several to the one that has waited longest for a turn, so that a slow model does not starve a fast one.

    The lines are served by a thread pool, because a semaphore is not fair: a thread that lets go of it takes it again
    before those that sleep on it wake up. With 8 clients some waited 4 seconds while the others had answers in 0.1.
    """

    def __init__(self, admitted: int, queue: int, shared: bool = False) -> None:
        """`admitted` predictions at once, `queue` more in line.

        Where they are `shared` by models, one may hold no more places than it leaves free: half of them alone, a third
        beside another that is as busy. So there is always a place for a model that holds none.
        """
        self._capacity = admitted + queue
        self._shared = shared
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._lines: dict[str, deque[_Turn]] = {}  # in the order of their last turns
        self._predictions = ThreadPoolExecutor(admitted, thread_name_prefix="predict")

    @contextmanager
    def entered(self, model: str) -> Iterator[None]:
        """Be inside, from before the body is read to the end. Raises Unavailable at once when there is no place."""
        with self._lock:
            free, held = self._capacity - self._inside.total(), self._inside[model]
            if free == 0 or (self._shared and held >= free):
                whose = " of this model" if self._shared else ""
                raise Unavailable(f"The server is busy with {held} requests{whose}; try again in a second.", "busy")
            self._inside[model] += 1
        try:
            yield
        finally:
            with self._lock:
                _decrement(self._inside, model)

    def predict(self, model: str, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for a turn and call the function. Raises Unavailable when the turn has not come in `seconds`.

        A call that has begun is waited for, however long it takes: it cannot be stopped.
        """
        future: Future[T] = Future()
        with self._lock:
            self._lines.setdefault(model, deque()).append((future, partial(function, *args, **kwargs)))
        self._predictions.submit(self._serve_next)
        try:
            return future.result(timeout=seconds)
        except TimeoutError:
            if future.cancel():
                sentence = f"The server is busy: no turn for this request in {seconds:g} s."
                raise Unavailable(sentence, "timeout") from None
            return future.result()

    def _serve_next(self) -> None:
        """Give one turn. Called once for each request in a line, by as many threads as may predict."""
        model, (future, call) = self._next()
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it is raised in the request's own thread
                future.set_exception(error)
            else:
                future.set_result(result)
        with self._lock:
            _decrement(self._running, model)

    def _next(self) -> tuple[str, _Turn]:
        with self._lock:
            model = min(self._lines, key=lambda name: self._running[name])  # the first of equals
            line = self._lines.pop(model)
            turn = line.popleft()
            if line:
                self._lines[model] = line
            self._running[model] += 1
        return model, turn


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
