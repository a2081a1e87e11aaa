"""gunicorn's threaded worker, but no thread waits for a connection on which nothing has been sent."""

import selectors
import time
from functools import partial

from gunicorn.workers.gthread import TConn, ThreadWorker


class Worker(ThreadWorker):
    """A thread takes a connection when its first bytes are there.

    gunicorn's own takes it at once and waits up to five seconds: as many idle connections as threads, which health
    checkers and connection pools do open, and /ping stood still for that long.
    """

    def enqueue_req(self, conn: TConn) -> None:
        """Put a new connection on the poller; hand one with data to a thread. Called by the main loop alone."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
