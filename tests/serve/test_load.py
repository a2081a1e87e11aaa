"""More requests than the queue holds: the excess gets 503, and all others succeed."""

import concurrent.futures
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from serve.http.worker import CLOSING_SECONDS
from serve.telemetry.request_log import SILENT_SECONDS
from tests.photos import encode, solid
from tests.serve.clients import connections, readable
from tests.server import Server

PHOTO = solid(255, 0, 0)


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """A server that runs one prediction at a time and queues two requests."""
    with Server(models / "classifier", VISION_CONCURRENT_PREDICTIONS="1", VISION_QUEUE_SIZE="2") as started:
        yield started.wait_until_ready()


def test_excess_requests_get_503_at_once_and_succeed_when_the_queue_is_free(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        uploads = [stack.enter_context(server.upload(len(PHOTO), PHOTO[:5])) for _ in range(4)]
        by_socket = {upload.sock: upload for upload in uploads}
        readable_sockets = readable(by_socket, 30)
        assert len(readable_sockets) == 1, "with 1 request running and 2 queued, the fourth is rejected first"
        refusal = server.response(by_socket.pop(readable_sockets[0]))
        assert (refusal.status, refusal.headers["retry-after"]) == (503, "1")
        assert refusal.reason == "The server is busy with 3 requests; try again in a second."
        assert server.request("POST", "/invocations", b"x" * 1_000_000).status == 503
        assert server.request("GET", "/ping").status == 200
        assert not readable(by_socket), "the responses waited until one of the three requests timed out"
        for upload in by_socket.values():
            upload.send(PHOTO[5:])
            response = server.response(upload)
            assert (response.status, len(response.json())) == (200, 3)
        assert server.request("POST", "/invocations", PHOTO).status == 200


def test_64_clients_get_200_or_503_and_no_connection_is_reset(server: Server) -> None:
    photo = encode(Image.effect_noise((1500, 1000), 50).convert("RGB"), "PNG")
    rounds = 6

    def client(number: int) -> list[int]:
        return [server.request("POST", "/invocations", photo, timeout=60).status for _ in range(rounds)]

    with concurrent.futures.ThreadPoolExecutor(64) as clients:
        statuses = [status for client_statuses in clients.map(client, range(64)) for status in client_statuses]
    assert len(statuses) == 64 * rounds
    assert set(statuses) == {200, 503}


def test_8_clients_with_images_for_the_sandbox_all_get_200(models: Path) -> None:
    photo = encode(Image.effect_noise((1500, 1000), 50).convert("RGB"), progressive=True)
    with Server(models / "classifier", VISION_CONCURRENT_PREDICTIONS="1") as server:
        server.wait_until_ready()
        with concurrent.futures.ThreadPoolExecutor(8) as clients:
            responses = clients.map(lambda _: server.request("POST", "/invocations", photo, timeout=60), range(40))
            assert {response.status for response in responses} == {200}


def test_many_rejected_requests_write_few_lines_to_the_log(models: Path) -> None:
    with Server(models / "classifier", VISION_CONCURRENT_PREDICTIONS="1", VISION_QUEUE_SIZE="0") as server:
        server.wait_until_ready()
        with contextlib.ExitStack() as uploads:
            started = time.monotonic()
            while True:
                # This takes the only slot. If the request below overtakes the upload, the upload itself gets 503.
                uploads.enter_context(server.upload(1000, b"x"))
                if server.request("POST", "/invocations", PHOTO).status == 503:
                    break
                assert time.monotonic() < started + 10
            for _ in range(50):
                assert server.request("POST", "/invocations", PHOTO).status == 503
            seconds = time.monotonic() - started
        lines = [line for line in server.log() if "503 POST /invocations: The server is busy" in line]
    assert 1 <= len(lines) <= 1 + seconds / SILENT_SECONDS


def test_idle_connections_do_not_delay_ping(server: Server) -> None:
    with connections(server, 20, b"") as clients:
        assert server.request("GET", "/ping").status == 200
        assert server.request("POST", "/invocations", PHOTO).status == 200
        assert not readable(clients), "the responses waited until an idle connection was closed"


def test_clients_that_never_close_do_not_delay_ping(classifier: Server) -> None:
    count = 40
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", classifier.port)))
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert classifier.request("GET", "/ping").status == 200
    assert time.monotonic() - started < count * CLOSING_SECONDS / 4, "/ping waited for clients to close"
