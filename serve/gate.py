"""Admission: so many predictions at once, so many more in line, and a refusal at once beyond."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from serve.errors import Unavailable


class Gate:
    """Bounds the requests inside, and within them the predictions at once, first come first served.

    A plain semaphore would not be fair: with 8 clients some waited 4 seconds while the others answered in 0.1,
    because a thread that lets go of it takes it again before those that sleep on it wake up.
    """

    def __init__(self, admitted: int, queue: int) -> None:
        self._lock = threading.Lock()
        self._room = self._capacity = admitted + queue
        self._free = admitted
        self._line: deque[threading.Lock] = deque()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside, from before the body is read to the end. Raises Unavailable at once when there is no room."""
        with self._lock:
            if self._room == 0:
                raise Unavailable(f"The server is busy with {self._capacity} requests; try again in a second.")
            self._room -= 1
        try:
            yield
        finally:
            with self._lock:
                self._room += 1

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """Wait for one's turn to predict, and have it. Raises Unavailable when it has not come in `seconds`."""
        self._wait(seconds)
        try:
            yield
        finally:
            self._pass_on()

    def _wait(self, seconds: float) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            call = threading.Lock()
            call.acquire()  # whoever passes the turn on releases it
            self._line.append(call)
        started = time.monotonic()
        if call.acquire(timeout=seconds):
            return
        with self._lock:
            if call in self._line:
                self._line.remove(call)
                waited = time.monotonic() - started
                raise Unavailable(f"The server is busy: no turn for this request in {waited:.0f} s; try again later.")
        # called between the end of the wait and the lock: the turn is ours after all

    def _pass_on(self) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().release()
            else:
                self._free += 1
