"""The server that returns 503 during a conversion: no client can delay it."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from serve.user_model import placeholder_server


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as server:
        yield server


def connect(listener: socket.socket, sent: bytes) -> socket.socket:
    client = socket.create_connection(listener.getsockname(), timeout=10)
    client.sendall(sent)
    return client


@pytest.mark.parametrize("sent", [b"", b"GET /ping HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"])
def test_idle_and_slow_clients_use_no_threads_and_do_not_delay_pings(listener: socket.socket, sent: bytes) -> None:
    with placeholder_server.running(listener), contextlib.ExitStack() as stack:
        threads = set(threading.enumerate())
        for _ in range(400):
            stack.enter_context(connect(listener, sent))
        for _ in range(3):
            start = time.monotonic()
            with connect(listener, b"GET /ping HTTP/1.1\r\n\r\n") as client:
                assert client.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
            assert time.monotonic() - start < 2
        assert set(threading.enumerate()) <= threads  # threads of other tests may end meanwhile


def test_a_client_that_never_stops_sending_does_not_delay_the_shutdown(listener: socket.socket) -> None:
    stop = threading.Event()

    def trickle(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while not stop.wait(0.2):
                client.sendall(b"x")

    ended = threading.Event()

    def serve_once() -> None:
        with placeholder_server.running(listener), connect(listener, b"GET /ping HTTP/1.1\r\n") as client:
            trickler = threading.Thread(target=trickle, args=(client.dup(),))
            trickler.start()
            assert client.recv(12) == b"HTTP/1.1 503"
        ended.set()

    serving = threading.Thread(target=serve_once, daemon=True)
    serving.start()
    try:
        assert ended.wait(8), "the server still waits for a client"
    finally:
        stop.set()


def test_a_head_request_gets_no_body(listener: socket.socket) -> None:
    with placeholder_server.running(listener), connect(listener, b"HEAD /ping HTTP/1.1\r\n\r\n") as client:
        head, end, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert (end, body) == (b"\r\n\r\n", b"")
