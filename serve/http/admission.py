"""Admission control: at most N predictions run and M wait; others get 503 at once. Fair among models."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from serve.http.errors import Unavailable
from serve.words import plural

P = ParamSpec("P")
T = TypeVar("T")

_Turn = tuple["Future[Any]", Callable[[], Any]]


class Gate:
    """Limits the admitted requests and the concurrent predictions. Each model has its own queue.

    Each queue is first in, first out. The next turn goes to the model with the fewest running predictions, and in case
    of a tie to the model that has waited longest for a turn, so a slow model does not starve a fast one.

    A thread pool runs the predictions, because a semaphore is not fair: a thread that releases it acquires it again
    before waiting threads wake up. With 8 clients, some waited 4 seconds while others had responses in 0.1 s.
    """

    def __init__(self, admitted: int, queue: int, shared: bool = False) -> None:
        """At most `admitted` predictions run and `queue` requests wait.

        With `shared`, models share the slots, and a model may hold no more slots than it leaves free: half of them if
        it is the only one, or a third if another model is just as busy. So a model without a slot can always get one.
        """
        self._capacity = admitted + queue
        self._shared = shared
        self._lock = threading.Lock()
        self._admitted: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[_Turn]] = {}  # in the order of their last turns
        self._pool = ThreadPoolExecutor(admitted, thread_name_prefix="predict")

    @contextmanager
    def admit(self, model: str) -> Iterator[None]:
        """Hold a slot while the block runs. Entered before the body is read. Raises Unavailable if none is free."""
        with self._lock:
            free, held = self._capacity - self._admitted.total(), self._admitted[model]
            if free == 0 or (self._shared and held >= free):
                requests = plural(held, "request") + (" for this model" if self._shared else "")
                raise Unavailable(f"The server is busy with {requests}; try again in a second.", "busy")
            self._admitted[model] += 1
        try:
            yield
        finally:
            with self._lock:
                _decrement(self._admitted, model)

    def predict(self, model: str, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for a turn and call the function. Raises Unavailable if there is no turn within `seconds`.

        Once the call has started, wait for its result however long it takes, because it cannot be stopped.
        """
        future: Future[T] = Future()
        with self._lock:
            self._queues.setdefault(model, deque()).append((future, partial(function, *args, **kwargs)))
        self._pool.submit(self._run_next)
        try:
            return future.result(timeout=seconds)
        except TimeoutError:
            if future.cancel():
                message = f"The server is busy: this request got no turn within {seconds:g} s."
                raise Unavailable(message, "timeout") from None
            return future.result()

    def _run_next(self) -> None:
        """Run the next prediction. Called in the pool, once for each queued request."""
        model, (future, call) = self._next()
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - raised in the request's own thread
                future.set_exception(error)
            else:
                future.set_result(result)
        with self._lock:
            _decrement(self._running, model)

    def _next(self) -> tuple[str, _Turn]:
        with self._lock:
            model = min(self._queues, key=lambda name: self._running[name])  # the first among equals
            queue = self._queues.pop(model)
            turn = queue.popleft()
            if queue:
                self._queues[model] = queue
            self._running[model] += 1
        return model, turn


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
