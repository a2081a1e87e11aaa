"""gunicorn's threaded worker, with a thread that is always free for /ping."""

import selectors
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gunicorn.workers.gthread import TConn, ThreadWorker

PING = (b"GET /ping ", b"HEAD /ping")


class Worker(ThreadWorker):
    """Two things that gunicorn's own worker does not do, each measured to make /ping stand still.

    A thread takes a connection when its first bytes are there; gunicorn's waits for them up to five seconds, in as
    many threads as there are idle connections, which health checkers and connection pools do open. And /ping has a
    thread of its own instead of a place behind the requests that wait to be refused.
    """

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """The threads of all requests but those of /ping, which have one of their own."""
        self.ping_pool = ThreadPoolExecutor(1, thread_name_prefix="ping")
        return ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="request")

    def enqueue_req(self, conn: TConn) -> None:
        """Put a new connection on the poller; hand one with data to a thread. Called by the main loop alone."""
        if not (conn.initialized or conn.data_ready):
            conn.sock.setblocking(False)
            conn.timeout = time.monotonic() + self.cfg.keepalive
            self.pending_conns.append(conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
            return
        pool = self.ping_pool if _is_ping(conn.sock) else self.tpool
        answered = pool.submit(self.handle, conn)
        answered.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))


def _is_ping(connection: socket.socket) -> bool:
    """Whether the next bytes begin a GET of /ping; a request line that comes in pieces is not worth waiting for."""
    try:
        return connection.recv(len(PING[0]), socket.MSG_PEEK | socket.MSG_DONTWAIT) in PING
    except OSError:  # nothing there (read ahead with the request before), or closed: for the parser to find out
        return False
