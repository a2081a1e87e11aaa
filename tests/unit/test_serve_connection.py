"""A client's socket: the server disconnects clients that send or read too slowly, and waits for all others."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from serve.http import connection
from serve.http.connection import Connection

LONG = b"x" * 20_000_000  # larger than the socket buffers of both ends
WAIT = 60.0  # seconds; closing a connection at once takes less than half of this


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, socket.socket]]:
    """The server's and the client's end of a connection. One thread may wait for the client, for up to a minute."""
    monkeypatch.setattr(Connection, "response_seconds", WAIT, raising=False)
    monkeypatch.setattr(Connection, "may_wait", threading.Semaphore(1), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=10))
        accepted, _ = listener.accept()
        server = Connection(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        yield stack.enter_context(server), client


@pytest.fixture
def seconds_until_timeout(
    sockets: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, float], float]:
    """`seconds_until_timeout(size, expected)` returns how long the server reads a body that arrives at `size` bytes/s.

    The clock is simulated, and the server is given at most 100 s.
    """
    now = 0.0
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: now, thread_time=time.thread_time))
    server, client = sockets

    def until_timeout(size: int, expected: float) -> float:
        nonlocal now
        now = 0.0
        server.expect(expected)
        with contextlib.suppress(TimeoutError):
            while now < 100:
                client.sendall(b"x" * size)
                server.recv(size)
                now += 1
        return now

    return until_timeout


def test_a_body_may_take_its_full_time_if_bytes_keep_coming(
    seconds_until_timeout: Callable[[int, float], float],
) -> None:
    assert seconds_until_timeout(5000, 30) == 30


def test_a_body_that_never_starts_gets_its_full_time(sockets: tuple[Connection, socket.socket]) -> None:
    server, _ = sockets
    start = time.monotonic()
    server.expect(0.2)
    with pytest.raises(TimeoutError):
        server.recv(100)
    assert 0.2 <= time.monotonic() - start < connection.GRACE_SECONDS


def test_a_body_below_the_minimum_rate_times_out_and_one_above_it_does_not(
    sockets: tuple[Connection, socket.socket], seconds_until_timeout: Callable[[int, float], float]
) -> None:
    server, _ = sockets
    assert seconds_until_timeout(500, 1000) == 20  # 10 s of grace, and 1 s for every 1000 bytes
    server.release()
    assert server.recv(1000) == b"x" * 500  # the last chunk
    assert seconds_until_timeout(1100, 1000) == 100


def test_after_release_reading_never_waits(sockets: tuple[Connection, socket.socket]) -> None:
    server, _ = sockets
    server.expect(60)
    server.release()
    with pytest.raises(BlockingIOError):
        server.recv(100)


def test_a_client_that_does_not_read_its_responses_is_disconnected_at_once(
    sockets: tuple[Connection, socket.socket],
) -> None:
    server, _ = sockets
    start = time.monotonic()

    def send_response() -> None:
        for _ in range(len(LONG) // 1000):
            server.sendall(b"x" * 1000)

    def send_continue() -> None:
        line = b"HTTP/1.1 100 Continue\r\n\r\n"
        for _ in range(len(LONG) // len(line)):  # some may fit, because the kernel compacts its buffers
            server.send(line)

    with pytest.raises(ConnectionResetError):
        send_response()
    with pytest.raises(ConnectionResetError):
        send_continue()
    assert time.monotonic() - start < WAIT / 2


def test_a_long_response_is_sent_completely_to_a_client_that_reads_it(
    sockets: tuple[Connection, socket.socket],
) -> None:
    server, client = sockets
    received = bytearray()

    def read() -> None:
        while len(received) < len(LONG):
            received.extend(client.recv(1_000_000))

    reader = threading.Thread(target=read)
    reader.start()
    server.sendall(LONG)
    reader.join(60)
    assert received == LONG


def test_only_a_limited_number_of_threads_waits_for_clients_that_do_not_read(
    sockets: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = sockets
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "response_seconds", 0.5)
        start = time.monotonic()
        with pytest.raises(ConnectionResetError):
            server.sendall(LONG)
        assert 0.5 <= time.monotonic() - start < WAIT / 2
    assert Connection.may_wait.acquire(blocking=False), "after its wait, a thread must let another one wait"
    start = time.monotonic()
    with pytest.raises(ConnectionResetError):
        server.sendall(LONG)
    assert time.monotonic() - start < WAIT / 2
    message = f"closing a connection, because the client does not read its response of {len(LONG)} bytes"
    assert [record.getMessage() for record in caplog.records] == [message] * 2
