"""Answers 503 on the server's port while a model is being converted, before there is a server."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serve.errors import document

REASON = "The model is being converted, which happens once at start; try again in a few seconds."
_SECONDS = 2  # for a request to arrive whole: long enough for one on its way, short for a thread of /ping's
_LARGEST = 100 * 2**20  # bytes of a body that are read before the answer, so that it is not lost in a reset


class _Handler(BaseHTTPRequestHandler):
    timeout = _SECONDS
    server_version, sys_version = "serve", ""

    def _refuse(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            rest = min(int(self.headers.get("Content-Length") or 0), _LARGEST)
            while rest > 0 and (block := self.rfile.read(min(rest, 65536))):
                rest -= len(block)
        body = json.dumps(document(503, REASON)).encode()
        self.send_response(503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "1")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _refuse

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: health checks come every second."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for answers under way

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of our business."""


@contextlib.contextmanager
def answering(listener: socket.socket) -> Iterator[None]:
    """Answer 503 to whatever comes to `listener`, which listens already, while the block runs; it stays open."""
    server = _Server(listener.getsockname(), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener.dup()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="answer-503")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
