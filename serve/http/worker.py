"""A variant of gunicorn's threaded worker in which slow clients do not block threads or other clients."""

import logging
import re
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from gunicorn.http import errors
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from serve.http import early_responses
from serve.http.connection import Connection
from serve.settings import SPARE_THREADS

log = logging.getLogger("serve")

HEAD_SECONDS = 10.0
"""Time for the head of a request (request line and headers) to arrive completely, from its first byte."""
MAX_HEAD = 32 * 1024
"""Maximum size of a request's head in bytes."""
DISCARD_SECONDS = 1.0
"""Time for the rest of a refused body to arrive. After that, the connection is not reused."""
CLOSING_SECONDS = 2.0
"""Time for a client to close a connection after the last response. Closing it at once could reset the connection and
lose the response."""
REFUSING_THREADS = SPARE_THREADS // 2
"""Number of threads that never wait for a client to read a long response."""

_SEPARATE = re.compile(rb"(?:GET|HEAD) (/ping|/metrics) ")
_BODY = re.compile(rb"\n(content-length|transfer-encoding|expect)\s*:", re.IGNORECASE)
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_READ = 16 * 1024  # bytes per call, for heads
_CHUNK = 1024 * 1024  # bytes per call, for bodies


class Conn(Protocol):
    """gunicorn's TConn, with a Connection as its socket (see `enqueue_req`). Worker adds the last four attributes."""

    sock: Connection
    parser: Any
    timeout: float

    queue: "deque[Conn] | None"
    since: float
    head: bytearray
    is_separate: bool

    def init(self) -> None: ...
    def close(self) -> None: ...


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Reads the heads of requests in the main loop, and passes a connection to a thread when its head is complete.

    gunicorn's own worker uses a thread from the first byte on, so a few clients that send incomplete heads can block
    all threads. In this worker, a waiting connection is in one of three queues, the longest waiting first:
    `keepalived_conns` before a request arrives, `pending_conns` if part of a head has arrived, and `closing_conns`
    after the last response. At the maximum number of connections, the one that has waited longest is closed to make
    room for a new one, which may be a health check.

    /ping and /metrics have one thread each. /ping never waits, and /metrics takes milliseconds.
    """

    refused: Callable[[int, str], None]
    """Called with the status and a log message for each request that does not reach the application."""

    def init_process(self) -> None:
        """Turn the new process into the worker."""
        self.closing_conns: deque[Conn] = deque()
        self.in_threads = 0  # connections that are in threads or queued for them
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the threads for all requests except those for /ping and /metrics, which have one thread each."""
        Connection.response_seconds = self.cfg.timeout
        Connection.may_wait = threading.Semaphore(self.cfg.threads - REFUSING_THREADS)
        self.separate = {path: ThreadPoolExecutor(1, thread_name_prefix=path[1:]) for path in ("/ping", "/metrics")}
        return ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="request")

    # The following methods are called in the main loop.

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting connections. A stopping worker closes the listener, to refuse new connections."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection. If there are too many, close the one that has waited longest."""
        if self.nr_conns >= self.worker_connections - 1:
            queues = (self.closing_conns, self.keepalived_conns, self.pending_conns)
            if longest := min((queue[0] for queue in queues if queue), key=lambda conn: conn.since, default=None):
                self._close(self._dequeue(longest))
        super().accept(listener)

    def enqueue_req(self, conn: Conn) -> None:
        """Set up a connection that has just been accepted."""
        accepted = conn.sock
        conn.sock = Connection(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        conn.queue = None
        conn.init()  # creates the parser; without TLS there is no handshake
        self._await_request(conn)

    def finish_request(self, conn: Conn, future: "Future[bool]") -> None:
        """After a thread has handled a request, wait for the next request, or for the client to close."""
        self.in_threads -= not conn.is_separate
        if future.cancelled() or future.exception() or not future.result():
            self._linger(conn)
        else:
            self._await_request(conn)

    def murder_pending(self) -> None:
        """End connections that have waited too long, for the rest of a head or for the client to close."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            reason = f"The request line and headers did not arrive completely within {HEAD_SECONDS:g} s."
            self._refuse(self._dequeue(self.pending_conns[0]), 408, reason)
        while self.closing_conns and self.closing_conns[0].timeout <= now:
            self._close(self._dequeue(self.closing_conns[0]))

    def _await_request(self, conn: Conn) -> None:
        """Wait for a head. Part or all of it may have been read together with the last request's body."""
        conn.sock.release()
        conn.head = bytearray(conn.parser.unreader.take_buffered())
        if conn.head:
            self._read_on(conn, 0)
        else:
            seconds = self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER
            self._enqueue(conn, self.keepalived_conns, seconds, self._on_head)

    def _on_head(self, conn: Conn, _: socket.socket) -> None:
        """Handle more data of a head, or the end of the connection."""
        data = self._receive(conn)
        if data:
            searched = len(conn.head)
            conn.head += data
            self._read_on(conn, searched)
        elif data is not None:
            self._close(self._dequeue(conn))

    def _read_on(self, conn: Conn, searched: int) -> None:
        """Hand over the connection if its head is complete, else wait. Only search after the first `searched` bytes."""
        end = conn.head.find(b"\r\n\r\n", max(0, searched - 3))
        if (end if end >= 0 else len(conn.head)) > MAX_HEAD:
            reason = f"The request line and headers exceed the limit of {MAX_HEAD} bytes."
            self._refuse(self._dequeue(conn), 431, reason)
        elif end >= 0 or _BARE_LINE_FEED.search(conn.head, searched):  # gunicorn's parser will refuse a bare line feed
            self._hand_over(self._dequeue(conn))
        elif searched == 0:
            self._enqueue(self._dequeue(conn), self.pending_conns, HEAD_SECONDS, self._on_head)

    def _hand_over(self, conn: Conn) -> None:
        """Pass a connection with a complete head to a thread."""
        match = _SEPARATE.match(conn.head) if not _BODY.search(conn.head) else None
        pool = self.separate[match[1].decode()] if match else self.tpool
        conn.is_separate = match is not None
        self.in_threads += not conn.is_separate
        conn.parser.unreader.unread(bytes(conn.head))
        conn.head.clear()
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def _refuse(self, conn: Conn, status: int, reason: str) -> None:
        """Send an error response to a request that has not reached a thread."""
        self.refused(status, reason)
        early_responses.send(conn.sock, status, reason)
        self._linger(conn)

    def _linger(self, conn: Conn) -> None:
        """Shut down the sending side, and wait for the client to close."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            self._close(conn)
        else:
            conn.sock.release()
            self._enqueue(conn, self.closing_conns, CLOSING_SECONDS, self._on_rest)

    def _on_rest(self, conn: Conn, _: socket.socket) -> None:
        """Discard data on a connection that is shut down, and close it if the client has closed it."""
        if self._receive(conn) == b"":
            self._close(self._dequeue(conn))

    def _receive(self, conn: Conn) -> bytes | None:
        """Return new data, b"" if the client is gone, or None if there is no data."""
        if conn.queue is None:  # closed after the poller's event, to make room for a new one
            return None
        try:
            return conn.sock.recv(_READ)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _enqueue(self, conn: Conn, queue: deque[Conn], seconds: float, callback: Callable[..., None]) -> None:
        """Add a connection to a queue and register it with the poller."""
        conn.queue, conn.since = queue, time.monotonic()
        conn.timeout = conn.since + seconds
        queue.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(callback, conn))

    def _dequeue(self, conn: Conn) -> Conn:
        """Remove a connection from its queue, if it is in one."""
        if conn.queue is not None:
            conn.queue.remove(conn)
            conn.queue = None
            self.poller.unregister(conn.sock)
        return conn

    def _close(self, conn: Conn) -> None:
        self.nr_conns -= 1
        conn.close()

    # The following methods are called in the threads.

    def _keepalive_after(self, conn: Conn, keepalive: bool) -> bool:
        """Return whether the connection can be reused, after discarding the rest of a refused body."""
        if not keepalive:
            return False
        overloaded = self.in_threads > self.cfg.threads
        conn.sock.expect(DISCARD_SECONDS / 50 if overloaded else DISCARD_SECONDS)
        try:
            while conn.parser.mesg.body.read(_CHUNK):
                pass
        except (OSError, errors.ParseException):
            return False
        return not conn.parser.mesg.body.failed

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Send a JSON error response if a head cannot be read or the server fails."""
        if client_error := early_responses.client_error(exc):
            status, reason, logged = client_error
            self.refused(status, logged)
            early_responses.send(client, status, reason)
        else:
            log.exception("A request failed")
            early_responses.send(client, 500, "The server failed; see its log.")
