"""gunicorn's threaded worker, with /ping kept apart from whatever clients do."""

import selectors
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gunicorn.workers.gthread import TConn, ThreadWorker

PING = (b"GET /ping ", b"HEAD /ping")
CLOSING_THREADS = 32


class Worker(ThreadWorker):
    """Three things that gunicorn's own worker does not do, each seen to keep /ping waiting for seconds.

    A thread takes a connection when its first bytes are there; gunicorn's waits for them up to five seconds, in as
    many threads as there are idle connections, which health checkers and connection pools do open. /ping has a thread
    of its own instead of a place behind the requests that wait to be refused. And a connection that ends is closed in
    a thread: to do so without a reset means to wait for the client up to two seconds, in gunicorn's one main loop.
    """

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """The threads of all requests but those of /ping, which have one of their own."""
        self.ping_pool = ThreadPoolExecutor(1, thread_name_prefix="ping")
        self.closing_pool = ThreadPoolExecutor(CLOSING_THREADS, thread_name_prefix="close")
        return ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="request")

    def enqueue_req(self, conn: TConn) -> None:
        """Put a new connection on the poller; hand one with data to a thread. Called by the main loop alone."""
        if not (conn.initialized or conn.data_ready):
            conn.close = partial(self._close, conn)
            conn.sock.setblocking(False)
            conn.timeout = time.monotonic() + self.cfg.keepalive
            self.pending_conns.append(conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
            return
        pool = self.ping_pool if _is_ping(conn.sock) else self.tpool
        answered = pool.submit(self.handle, conn)
        answered.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def _close(self, conn: TConn, graceful: bool = False) -> None:
        """Stands in for conn.close: at once as ever, or without a reset and in a thread."""
        if graceful:
            self.closing_pool.submit(TConn.close, conn, graceful=True)
        else:
            TConn.close(conn)


def _is_ping(connection: socket.socket) -> bool:
    """Whether the next bytes begin a GET of /ping; a request line that comes in pieces is not worth waiting for."""
    try:
        return connection.recv(len(PING[0]), socket.MSG_PEEK | socket.MSG_DONTWAIT) in PING
    except OSError:  # nothing there (read ahead with the request before), or closed: for the parser to find out
        return False
