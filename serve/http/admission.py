"""Admission: so many predictions at once, so many more in line, and a refusal at once beyond."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from serve.http.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


class Gate:
    """Bounds the requests inside, and within them the predictions at once, first come first served.

    The line is a thread pool's, because a semaphore's is not fair: a thread that lets go of it takes it again before
    those that sleep on it wake up. With 8 clients some waited 4 seconds while the others had answers in 0.1.
    """

    def __init__(self, admitted: int, queue: int) -> None:
        self._capacity = admitted + queue
        self._room = threading.BoundedSemaphore(self._capacity)
        self._predictions = ThreadPoolExecutor(admitted, thread_name_prefix="predict")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside, from before the body is read to the end. Raises Unavailable at once when there is no room."""
        if not self._room.acquire(blocking=False):
            raise Unavailable(f"The server is busy with {self._capacity} requests; try again in a second.", "busy")
        try:
            yield
        finally:
            self._room.release()

    def predict(self, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for a turn and call the function. Raises Unavailable when the turn has not come in `seconds`.

        A call that has begun is waited for, however long it takes: it cannot be stopped.
        """
        future = self._predictions.submit(function, *args, **kwargs)
        try:
            return future.result(timeout=seconds)
        except TimeoutError:
            if future.cancel():
                raise Unavailable(
                    f"The server is busy: no turn for this request in {seconds:g} s.", "timeout"
                ) from None
            return future.result()
