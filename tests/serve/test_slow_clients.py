"""Clients that send slowly, or nothing at all: the others are still answered."""

import contextlib
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.environments import python
from tests.photos import solid
from tests.serve.clients import answer, answers, crowd, readable
from tests.server import Response, Server

PHOTO = solid(255, 0, 0)
SLOW_HEAD = b"GET /ping HTTP/1.1\r\n"
SLOW_BODY = b"POST /invocations HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"
LATE = 30  # seconds, for what should be given up after 10 and, as more comes, might never be


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """Two predictions at once and two in line, on any machine."""
    with Server(models / "classifier", VISION_CONCURRENT_PREDICTIONS="2", VISION_QUEUE_SIZE="2") as started:
        yield started.wait_until_ready()
        assert len([line for line in started.log() if "Booting worker" in line]) == 1, "the worker was restarted"


@contextlib.contextmanager
def trickling(clients: list[socket.socket], byte: bytes) -> Iterator[None]:
    """Every connection sends `byte` every half second, until the block ends or the server closes it."""
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.5):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(byte)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def health(server: Server) -> int:
    """The status of /ping."""
    return server.request("GET", "/ping").status


def prediction(server: Server) -> int:
    """The status of a good request."""
    return server.request("POST", "/invocations", PHOTO).status


@pytest.mark.parametrize("count", [1, 20])
def test_half_a_head_keeps_nobody_waiting(server: Server, count: int) -> None:
    with crowd(server, count, SLOW_HEAD) as pings, crowd(server, count, SLOW_BODY[:30]) as posts:
        for _ in range(3):
            assert health(server) == 200
            assert prediction(server) == 200
        assert not readable(pings + posts), "the answers waited until half a head was given up"


def test_200_slow_heads_keep_nobody_waiting_and_are_given_10_seconds(server: Server) -> None:
    begun = time.monotonic()
    with crowd(server, 200, SLOW_HEAD) as clients, trickling(clients, b"x"):
        rounds = 0
        while not readable(clients[:1], 0.2):
            assert health(server) == 200
            assert prediction(server) == 200
            assert time.monotonic() - begun < LATE
            rounds += 1
        assert time.monotonic() - begun >= 10
        assert rounds >= 3, "the answers waited until a head was given up"
        for client in clients:
            [refusal] = answers(client)
            assert refusal.status == 408
            assert refusal.reason == "The request line and headers did not arrive whole within 10 s."
        assert time.monotonic() - begun < LATE


def test_200_slow_bodies_keep_nobody_waiting_and_are_given_10_seconds(server: Server) -> None:
    begun = time.monotonic()
    with crowd(server, 200, SLOW_BODY) as clients, trickling(clients, b"x"), selectors.DefaultSelector() as waiting:
        for client in clients:
            waiting.register(client, selectors.EVENT_READ, client.makefile("rb"))
        late: list[Response] = []
        predictions = []
        while waiting.get_map():
            assert health(server) == 200
            predictions.append(prediction(server))
            assert time.monotonic() - begun < LATE
            for key, _ in waiting.select(0.2):
                waiting.unregister(key.fileobj)
                refusal = answer(key.data)
                assert refusal is not None
                if refusal.status == 408:
                    late.append(refusal)
                else:
                    assert refusal.status == 503
                    assert refusal.reason.startswith("The server is busy")
                    assert not late, "the refusals waited until a body was given up"
        assert len(late) == 4, "two predict and two are in line"
        for refusal in late:
            assert refusal.reason == "The body arrived at less than 1000 bytes/s for 10 s."
        assert time.monotonic() - begun >= 10
    assert predictions[:3] == [503] * 3, "the answers waited until a body was given up"
    assert predictions == sorted(predictions, reverse=True), "refused as long as the four are there, and then no more"
    assert set(predictions) <= {200, 503}
    assert prediction(server) == 200


@pytest.fixture
def many_files() -> Iterator[int]:
    """So many connections this process can have."""
    count = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    yield count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("sent", [b"", SLOW_HEAD, SLOW_BODY])
def test_1100_connections_keep_nobody_waiting_and_the_oldest_are_closed(
    server: Server, many_files: int, sent: bytes
) -> None:
    with crowd(server, many_files, sent) as clients:
        for _ in range(3):
            assert health(server) == 200
            assert prediction(server) == (503 if sent == SLOW_BODY else 200)
        if sent != SLOW_BODY:  # those are refused
            assert clients[0].recv(1) == b""
            clients[-1].setblocking(False)
            with pytest.raises(BlockingIOError):
                clients[-1].recv(1)
    until(lambda: prediction(server) == 200)


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Ask until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end


def test_where_few_files_may_be_open_fewer_connections_are_held(models: Path, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nulimit -n 200\nexec {python("serve")} "$@"\n')
    interpreter.chmod(0o755)
    with Server(models / "classifier", interpreter) as server:
        server.wait_until_ready()
        with crowd(server, 300, SLOW_HEAD) as clients:
            assert health(server) == 200
            assert prediction(server) == 200
            assert not readable(clients[-1:]), "the answers waited until a head was given up"
        assert not [line for line in server.log() if "Traceback" in line]


def test_ping_with_a_slow_body_keeps_no_other_ping_waiting(server: Server) -> None:
    with crowd(server, 64, b"GET /ping HTTP/1.1\r\nContent-Length: 1000\r\n\r\n") as clients:
        for _ in range(3):
            assert health(server) == 200
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
