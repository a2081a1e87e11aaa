"""A memory budget shared by all requests, for bodies and for responses that clients have not read yet."""

import threading
from types import TracebackType
from typing import Self

from serve.http.errors import Unavailable


class ByteBudget:
    """A number of bytes from which requests reserve their share."""

    def __init__(self, size: int) -> None:
        self.available = size
        self.lock = threading.Lock()


class Reservation:
    """The share of one request, which is released at the end of a `with` block or by `release`."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._reserved = 0

    def take(self, count: int) -> None:
        """Reserve `count` more bytes. Raises Unavailable if other requests hold too many."""
        with self._budget.lock:
            if count > self._budget.available:
                message = "The server's memory for requests is in use by other requests; try again in a second."
                raise Unavailable(message, "memory")
            self._budget.available -= count
            self._reserved += count

    def release(self) -> None:
        """Release all bytes."""
        with self._budget.lock:
            self._budget.available += self._reserved
            self._reserved = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
