"""A client's socket: who sends or reads too slowly is given up, who does not is waited for."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from serve.http import connection
from serve.http.connection import Connection

LONG = b"x" * 20_000_000  # more than the system's buffers of both ends hold
WAIT = 60.0  # seconds: what is given up at once has not taken half of it


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, socket.socket]]:
    """The server's end of a connection and the client's. One thread may wait, for a minute."""
    monkeypatch.setattr(Connection, "answer_seconds", WAIT, raising=False)
    monkeypatch.setattr(Connection, "may_wait", threading.Semaphore(1), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=10))
        accepted, _ = listener.accept()
        server = Connection(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        yield stack.enter_context(server), client


@pytest.fixture
def seconds_until_given_up(
    ends: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, float], float]:
    """`seconds_until_given_up(size, expected)`: when a body is, of which `size` bytes come each second; at most 100.

    The seconds are those of a clock that the test turns on.
    """
    now = 0.0
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: now, thread_time=time.thread_time))
    server, client = ends

    def until_given_up(size: int, expected: float) -> float:
        nonlocal now
        now = 0.0
        server.expect(expected)
        with contextlib.suppress(TimeoutError):
            while now < 100:
                client.sendall(b"x" * size)
                server.recv(size)
                now += 1
        return now

    return until_given_up


def test_a_body_has_its_time_however_often_bytes_come(seconds_until_given_up: Callable[[int, float], float]) -> None:
    assert seconds_until_given_up(5000, 30) == 30


def test_a_body_of_which_nothing_comes_has_its_time(ends: tuple[Connection, socket.socket]) -> None:
    server, _ = ends
    begun = time.monotonic()
    server.expect(0.2)
    with pytest.raises(TimeoutError):
        server.recv(100)
    assert 0.2 <= time.monotonic() - begun < connection.GRACE_SECONDS


def test_a_body_below_the_least_rate_is_given_up_and_one_above_it_is_not(
    ends: tuple[Connection, socket.socket], seconds_until_given_up: Callable[[int, float], float]
) -> None:
    server, _ = ends
    assert seconds_until_given_up(500, 1000) == 20  # when the 10 s of grace, and one for each 1000 bytes, are over
    server.release()
    assert server.recv(1000) == b"x" * 500  # what was sent last
    assert seconds_until_given_up(1100, 1000) == 100


def test_on_the_poller_nothing_waits_whatever_was_expected(ends: tuple[Connection, socket.socket]) -> None:
    server, _ = ends
    server.expect(60)
    server.release()
    with pytest.raises(BlockingIOError):
        server.recv(100)


def test_a_client_that_leaves_answers_unread_is_given_up_at_once(ends: tuple[Connection, socket.socket]) -> None:
    server, _ = ends
    begun = time.monotonic()

    def answer() -> None:
        for _ in range(len(LONG) // 1000):
            server.sendall(b"x" * 1000)

    def go_on() -> None:
        line = b"HTTP/1.1 100 Continue\r\n\r\n"
        for _ in range(len(LONG) // len(line)):  # some may still fit: the system moves what it holds, and makes room
            server.send(line)

    with pytest.raises(ConnectionResetError):
        answer()
    with pytest.raises(ConnectionResetError):
        go_on()
    assert time.monotonic() - begun < WAIT / 2


def test_a_long_answer_is_sent_whole_to_a_client_that_reads_it(ends: tuple[Connection, socket.socket]) -> None:
    server, client = ends
    received = bytearray()

    def read() -> None:
        while len(received) < len(LONG):
            received.extend(client.recv(1_000_000))

    reader = threading.Thread(target=read)
    reader.start()
    server.sendall(LONG)
    reader.join(60)
    assert received == LONG


def test_only_so_many_threads_wait_for_clients_that_do_not_read(
    ends: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = ends
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "answer_seconds", 0.5)
        begun = time.monotonic()
        with pytest.raises(ConnectionResetError):
            server.sendall(LONG)
        assert 0.5 <= time.monotonic() - begun < WAIT / 2
    assert Connection.may_wait.acquire(blocking=False), "a thread that has waited makes room for another"
    begun = time.monotonic()
    with pytest.raises(ConnectionResetError):
        server.sendall(LONG)
    assert time.monotonic() - begun < WAIT / 2
    said = f"a client does not read its answer of {len(LONG)} bytes: its connection is closed"
    assert [record.getMessage() for record in caplog.records] == [said] * 2
