"""Clients that send slowly or not at all do not delay other clients."""

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
from tests.serve.clients import connections, read_response, read_responses, readable
from tests.server import Response, Server

PHOTO = solid(255, 0, 0)
SLOW_HEAD = b"GET /ping HTTP/1.1\r\n"
SLOW_BODY = b"POST /invocations HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"
LATE = 30  # seconds; a slow request should time out after 10, but might never if each byte extends its time


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """A server that runs two predictions at once and queues two, on any machine."""
    with Server(models / "classifier", VISION_CONCURRENT_PREDICTIONS="2", VISION_QUEUE_SIZE="2") as started:
        yield started.wait_until_ready()
        assert len([line for line in started.log() if "Booting worker" in line]) == 1, "the worker was restarted"


@contextlib.contextmanager
def trickling(clients: list[socket.socket], byte: bytes) -> Iterator[None]:
    """Send `byte` on every connection every half second, until the block ends or the server closes it."""
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
    """Return the status of /ping."""
    return server.request("GET", "/ping").status


def prediction(server: Server) -> int:
    """Return the status of a valid request."""
    return server.request("POST", "/invocations", PHOTO).status


@pytest.mark.parametrize("count", [1, 20])
def test_incomplete_headers_do_not_delay_other_clients(server: Server, count: int) -> None:
    with connections(server, count, SLOW_HEAD) as pings, connections(server, count, SLOW_BODY[:30]) as posts:
        for _ in range(3):
            assert health(server) == 200
            assert prediction(server) == 200
        assert not readable(pings + posts), "the responses waited until incomplete headers timed out"


def test_200_clients_with_slow_headers_time_out_after_10_seconds_and_delay_nobody(server: Server) -> None:
    started = time.monotonic()
    with connections(server, 200, SLOW_HEAD) as clients, trickling(clients, b"x"):
        rounds = 0
        while not readable(clients[:1], 0.2):
            assert health(server) == 200
            assert prediction(server) == 200
            assert time.monotonic() - started < LATE
            rounds += 1
        assert time.monotonic() - started >= 10
        assert rounds >= 3, "the responses waited until slow headers timed out"
        for client in clients:
            [refusal] = read_responses(client)
            assert refusal.status == 408
            assert refusal.reason == "The request line and headers did not arrive completely within 10 s."
        assert time.monotonic() - started < LATE


def test_200_clients_with_slow_bodies_time_out_after_10_seconds_and_delay_nobody(server: Server) -> None:
    started = time.monotonic()
    with (
        connections(server, 200, SLOW_BODY) as clients,
        trickling(clients, b"x"),
        selectors.DefaultSelector() as waiting,
    ):
        for client in clients:
            waiting.register(client, selectors.EVENT_READ, client.makefile("rb"))
        late: list[Response] = []
        predictions = []
        while waiting.get_map():
            assert health(server) == 200
            predictions.append(prediction(server))
            assert time.monotonic() - started < LATE
            for key, _ in waiting.select(0.2):
                waiting.unregister(key.fileobj)
                refusal = read_response(key.data)
                assert refusal is not None
                if refusal.status == 408:
                    late.append(refusal)
                else:
                    assert refusal.status == 503
                    assert refusal.reason.startswith("The server is busy")
                    assert not late, "the 503 responses waited until a body timed out"
        assert len(late) == 4, "two requests run and two are queued"
        for refusal in late:
            assert refusal.reason == "The body arrived at less than 1000 bytes/s for 10 s."
        assert time.monotonic() - started >= 10
    assert predictions[:3] == [503] * 3, "the responses waited until a body timed out"
    assert predictions == sorted(predictions, reverse=True), "503 is allowed only while the four requests are pending"
    assert set(predictions) <= {200, 503}
    assert prediction(server) == 200


@pytest.fixture
def many_files() -> Iterator[int]:
    """A number of connections, with the limit on open files raised to allow them."""
    count = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    yield count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("sent", [b"", SLOW_HEAD, SLOW_BODY])
def test_1100_connections_delay_nobody_and_the_oldest_are_closed(server: Server, many_files: int, sent: bytes) -> None:
    with connections(server, many_files, sent) as clients:
        for _ in range(3):
            assert health(server) == 200
            assert prediction(server) == (503 if sent == SLOW_BODY else 200)
        if sent != SLOW_BODY:  # slow bodies get 503
            assert clients[0].recv(1) == b""
            clients[-1].setblocking(False)
            with pytest.raises(BlockingIOError):
                clients[-1].recv(1)
    until(lambda: prediction(server) == 200)


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end


def test_fewer_connections_are_kept_if_the_limit_on_open_files_is_low(models: Path, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nulimit -n 200\nexec {python("serve")} "$@"\n')
    interpreter.chmod(0o755)
    with Server(models / "classifier", interpreter) as server:
        server.wait_until_ready()
        with connections(server, 300, SLOW_HEAD) as clients:
            assert health(server) == 200
            assert prediction(server) == 200
            assert not readable(clients[-1:]), "the responses waited until slow headers timed out"
        assert not [line for line in server.log() if "Traceback" in line]


def test_pings_with_slow_bodies_do_not_delay_other_pings(server: Server) -> None:
    with connections(server, 64, b"GET /ping HTTP/1.1\r\nContent-Length: 1000\r\n\r\n") as clients:
        for _ in range(3):
            assert health(server) == 200
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
