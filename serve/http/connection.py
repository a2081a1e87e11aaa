"""A client's socket with limits on how long a thread waits for a slow sender or reader."""

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
"""A body may arrive at any speed during this time. Afterwards, its average rate must be at least MIN_RATE."""
MIN_RATE = 1000
"""Bytes per second."""

CPU_SECONDS = 1.0
"""CPU time for reading a body, plus the same for each 128 MiB: ten times what a body without tiny chunks needs."""

_MAX_UNBLOCKED = 8192  # a response of this size fits into the system's buffer, unless earlier responses are unread


class TooMuchWork(OSError):
    """Reading a body takes too much CPU time, because it has tiny chunks or chunks with long headers."""


class Connection(socket.socket):
    """An accepted connection. gunicorn reads bodies with `recv` and writes responses with `sendall`.

    `response_seconds` is the time that a client may take to read a response that does not fit into the system's buffer.
    `may_wait` limits the number of threads that wait for this. Both are set on the class.
    """

    response_seconds: float
    may_wait: threading.Semaphore
    _deadline: float | None = None

    def expect(self, seconds: float) -> None:
        """Start reading a body that must arrive within `seconds`; if it is late, `recv` raises TimeoutError."""
        self._start, self._cpu_start = time.monotonic(), time.thread_time()
        self._deadline = self._start + seconds
        self._received = 0

    def release(self) -> None:
        """Make the socket non-blocking again, for the poller."""
        self._deadline = None
        self.setblocking(False)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive some bytes.

        Raises TimeoutError if the bytes are late or the body arrives too slowly, and TooMuchWork if the thread has used
        too much CPU time for what it has received.
        """
        if self._deadline is None:
            return super().recv(size, flags)
        if time.thread_time() - self._cpu_start > CPU_SECONDS * (1 + self._received / 2**27):
            raise TooMuchWork
        rate_deadline = self._start + GRACE_SECONDS + self._received / MIN_RATE
        remaining = min(self._deadline, rate_deadline) - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.settimeout(remaining)
        data = super().recv(size, flags)
        self._received += len(data)
        return data

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """Send all data. Raises ConnectionResetError, which gunicorn ignores, if the client does not read.

        Short responses, including all errors, never wait, so clients that do not read responses cannot block threads.
        """
        view = memoryview(data).cast("B")
        self.setblocking(False)
        try:
            sent = super().send(view, flags)
        except BlockingIOError:
            sent = 0
        if sent == len(view):
            return
        if len(view) > _MAX_UNBLOCKED and self.may_wait.acquire(blocking=False):
            try:
                self.settimeout(self.response_seconds)
                super().sendall(view[sent:], flags)
                return
            except TimeoutError:
                pass
            finally:
                self.may_wait.release()
        log.warning("closing a connection, because the client does not read its response of %d bytes", len(view))
        raise ConnectionResetError(errno.ECONNRESET, "the client does not read")

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        """Like sendall. gunicorn uses it to send `100 Continue`."""
        self.sendall(data, flags)
        return memoryview(data).nbytes
