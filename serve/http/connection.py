"""A client's socket, on which a thread waits neither for a slow sender nor for a slow reader longer than it says."""

import errno
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger("serve")

GRACE_SECONDS = 10.0
"""So long a body may take at any speed; after that it must have arrived at LEAST_RATE on the average."""
LEAST_RATE = 1000
"""Bytes a second."""

CPU_SECONDS = 1.0
"""For reading a body, and as many for each 128 MiB: ten times what one costs that does not come in tiny chunks."""

_AT_ONCE = 8192  # bytes that the system's buffer takes at once, unless earlier answers are unread


class TooMuchWork(OSError):
    """To read a body costs more processor time than it may: it comes in tiny chunks, or in chunks of long headers."""


class Connection(socket.socket):
    """An accepted connection. gunicorn reads bodies with `recv` and writes answers with `sendall`.

    `answer_seconds` is how long a client may take to read an answer that is too long to be taken at once, and
    `may_wait` lets only so many threads wait for that. Set both on the class.
    """

    answer_seconds: float
    may_wait: threading.Semaphore
    _deadline: float | None = None

    def expect(self, seconds: float) -> None:
        """From now on a body is read, for at most `seconds`; what `recv` waits for ends with TimeoutError then."""
        self._begun, self._worked = time.monotonic(), time.thread_time()
        self._deadline = self._begun + seconds
        self._received = 0

    def release(self) -> None:
        """From now on nothing waits: `recv` gives what is there. For the poller."""
        self._deadline = None
        self.setblocking(False)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Some bytes.

        Raises TimeoutError when they are late, and when those before arrived too slowly; TooMuchWork when the thread
        that reads has taken too much processor time for what it has received.
        """
        if self._deadline is None:
            return super().recv(size, flags)
        if time.thread_time() - self._worked > CPU_SECONDS * (1 + self._received / 2**27):
            raise TooMuchWork
        paced = self._begun + GRACE_SECONDS + self._received / LEAST_RATE
        remaining = min(self._deadline, paced) - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.settimeout(remaining)
        data = super().recv(size, flags)
        self._received += len(data)
        return data

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """Send it all. Raises ConnectionResetError when the client does not read, which gunicorn ignores.

        A short answer, as every refusal is, never waits: who sends requests and reads no answers has no thread.
        """
        view = memoryview(data).cast("B")
        self.setblocking(False)
        try:
            sent = super().send(view, flags)
        except BlockingIOError:
            sent = 0
        if sent == len(view):
            return
        if len(view) > _AT_ONCE and self.may_wait.acquire(blocking=False):
            try:
                self.settimeout(self.answer_seconds)
                super().sendall(view[sent:], flags)
                return
            except TimeoutError:
                pass
            finally:
                self.may_wait.release()
        log.warning("a client does not read its answer of %d bytes: its connection is closed", len(view))
        raise ConnectionResetError(errno.ECONNRESET, "the client does not read")

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        """As sendall; gunicorn sends `100 Continue` with it."""
        self.sendall(data, flags)
        return memoryview(data).nbytes
