"""gunicorn's threaded worker, in which no client keeps a thread, or another client, waiting."""

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

from serve.http import early_answers
from serve.http.connection import Connection
from serve.settings import SPARE_THREADS

log = logging.getLogger("serve")

HEAD_SECONDS = 10.0
"""For a request line and headers to arrive whole, from their first byte on."""
LARGEST_HEAD = 32 * 1024
"""Bytes of a request line and headers."""
DISCARD_SECONDS = 1.0
"""For the rest of a refused body to arrive, so that the connection can carry the next request."""
CLOSING_SECONDS = 2.0
"""For a client to close a connection that we have ended. Closed at once it may be reset, and the answer lost."""
REFUSING_THREADS = SPARE_THREADS // 2
"""Threads that never wait for a client to read a long answer."""

_APART = re.compile(rb"(?:GET|HEAD) (/ping|/metrics) ")
_BODY = re.compile(rb"\n(content-length|transfer-encoding|expect)\s*:", re.IGNORECASE)
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_READ = 16 * 1024  # bytes at once, of heads
_CHUNK = 1024 * 1024  # of bodies


class Conn(Protocol):
    """gunicorn's TConn, whose socket becomes a Connection in `enqueue_req`; `line` and below are added by Worker."""

    sock: Connection
    parser: Any
    timeout: float

    line: "deque[Conn] | None"
    since: float
    head: bytearray
    is_apart: bool

    def init(self) -> None: ...
    def close(self) -> None: ...


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Reads heads itself, in the main loop, and gives a connection to a thread once it has a whole one.

    gunicorn's own does so at the first byte, and then any number of seconds pass until the head is there: a few
    clients that send half of one hold all threads. Here a connection that waits is in one of three lines, the one that
    has waited longest in front: `keepalived_conns` where nothing of a request has come, `pending_conns` where a part
    of a head has, `closing_conns` where the last answer has been sent. When there are as many connections as there may
    be, the one that has waited longest is closed for a new one, which may be a health check.

    /ping has a thread of its own, which waits for nothing, and so has /metrics, which takes milliseconds.
    """

    refused: Callable[[int, str], None]
    """Called for each request that is answered without the application, with its status and a line of the log."""

    def init_process(self) -> None:
        """Called in the new process, which it turns into the worker."""
        self.closing_conns: deque[Conn] = deque()
        self.in_threads = 0  # connections that the threads have or are to have
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """The threads of all requests but those of /ping and of /metrics, which have one of their own each."""
        Connection.answer_seconds = self.cfg.timeout
        Connection.may_wait = threading.Semaphore(self.cfg.threads - REFUSING_THREADS)
        self.apart = {path: ThreadPoolExecutor(1, thread_name_prefix=path[1:]) for path in ("/ping", "/metrics")}
        return ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="request")

    # The main loop calls what follows.

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not. A worker that stops closes the listener, so that new ones are refused at once."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, for which there is always room while any connection waits."""
        if self.nr_conns >= self.worker_connections - 1:
            lines = (self.closing_conns, self.keepalived_conns, self.pending_conns)
            if longest := min((line[0] for line in lines if line), key=lambda conn: conn.since, default=None):
                self._close(self._leave(longest))
        super().accept(listener)

    def enqueue_req(self, conn: Conn) -> None:
        """Take over a connection that has just been accepted."""
        accepted = conn.sock
        conn.sock = Connection(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        conn.line = None
        conn.init()  # makes the parser; there is no TLS to shake hands for
        self._await_request(conn)

    def finish_request(self, conn: Conn, future: "Future[bool]") -> None:
        """A thread is through with a request: wait for the next one, or for the client to close."""
        self.in_threads -= not conn.is_apart
        if future.cancelled() or future.exception() or not future.result():
            self._linger(conn)
        else:
            self._await_request(conn)

    def murder_pending(self) -> None:
        """End what has waited too long: a head that has not come whole, a client that does not close."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            reason = f"The request line and headers did not arrive whole within {HEAD_SECONDS:g} s."
            self._refuse(self._leave(self.pending_conns[0]), 408, reason)
        while self.closing_conns and self.closing_conns[0].timeout <= now:
            self._close(self._leave(self.closing_conns[0]))

    def _await_request(self, conn: Conn) -> None:
        """Wait for a head, of which the last request's body may have brought some or all."""
        conn.sock.release()
        conn.head = bytearray(conn.parser.unreader.take_buffered())
        if conn.head:
            self._read_on(conn, 0)
        else:
            seconds = self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER
            self._wait(conn, self.keepalived_conns, seconds, self._on_head)

    def _on_head(self, conn: Conn, _: socket.socket) -> None:
        """More of a head is there, or the client has closed."""
        data = self._receive(conn)
        if data:
            searched = len(conn.head)
            conn.head += data
            self._read_on(conn, searched)
        elif data is not None:
            self._close(self._leave(conn))

    def _read_on(self, conn: Conn, searched: int) -> None:
        """Hand over a connection whose head is whole, wait where it is not. So many bytes of it are `searched`."""
        end = conn.head.find(b"\r\n\r\n", max(0, searched - 3))
        if (end if end >= 0 else len(conn.head)) > LARGEST_HEAD:
            reason = f"The request line and headers have more than {LARGEST_HEAD} bytes, which is the limit."
            self._refuse(self._leave(conn), 431, reason)
        elif end >= 0 or _BARE_LINE_FEED.search(conn.head, searched):  # which gunicorn's parser refuses
            self._hand_over(self._leave(conn))
        elif searched == 0:
            self._wait(self._leave(conn), self.pending_conns, HEAD_SECONDS, self._on_head)

    def _hand_over(self, conn: Conn) -> None:
        """Give a connection with a whole head to a thread."""
        found = _APART.match(conn.head) if not _BODY.search(conn.head) else None
        pool = self.apart[found[1].decode()] if found else self.tpool
        conn.is_apart = found is not None
        self.in_threads += not conn.is_apart
        conn.parser.unreader.unread(bytes(conn.head))
        conn.head.clear()
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def _refuse(self, conn: Conn, status: int, reason: str) -> None:
        """Answer a request that no thread has seen."""
        self.refused(status, reason)
        early_answers.send(conn.sock, status, reason)
        self._linger(conn)

    def _linger(self, conn: Conn) -> None:
        """Send nothing more, and wait for the client to close."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone already
            self._close(conn)
        else:
            conn.sock.release()
            self._wait(conn, self.closing_conns, CLOSING_SECONDS, self._on_rest)

    def _on_rest(self, conn: Conn, _: socket.socket) -> None:
        """More of what nobody reads is there, or the client has closed."""
        if self._receive(conn) == b"":
            self._close(self._leave(conn))

    def _receive(self, conn: Conn) -> bytes | None:
        """What has come; b"" when the client is gone, None when nothing has."""
        if conn.line is None:  # closed for a new one, since the poller has said so
            return None
        try:
            return conn.sock.recv(_READ)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _wait(self, conn: Conn, line: deque[Conn], seconds: float, callback: Callable[..., None]) -> None:
        """Put a connection into a line, and on the poller."""
        conn.line, conn.since = line, time.monotonic()
        conn.timeout = conn.since + seconds
        line.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(callback, conn))

    def _leave(self, conn: Conn) -> Conn:
        """Take a connection out of its line, if it is in one."""
        if conn.line is not None:
            conn.line.remove(conn)
            conn.line = None
            self.poller.unregister(conn.sock)
        return conn

    def _close(self, conn: Conn) -> None:
        self.nr_conns -= 1
        conn.close()

    # Threads call what follows.

    def _keepalive_after(self, conn: Conn, keepalive: bool) -> bool:
        """Whether the connection can carry another request: where the rest of a body that was refused is read soon."""
        if not keepalive:
            return False
        crowded = self.in_threads > self.cfg.threads
        conn.sock.expect(DISCARD_SECONDS / 50 if crowded else DISCARD_SECONDS)
        try:
            while conn.parser.mesg.body.read(_CHUNK):
                pass
        except (OSError, errors.ParseException):
            return False
        return not conn.parser.mesg.body.failed

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer a head that cannot be read, or a failure of the server, in JSON as the application does."""
        if refusal := early_answers.refusal(exc):
            status, reason, logged = refusal
            self.refused(status, logged)
            early_answers.send(client, status, reason)
        else:
            log.exception("A request failed")
            early_answers.send(client, 500, "The server failed; its log says why.")
