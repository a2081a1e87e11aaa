"""Request bodies: with or without a length, large, in chunks, incomplete, and too slow."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.photos import encode, solid
from tests.products.serving import probabilities
from tests.server import Server

RED, GREEN = (255, 0, 0), (0, 255, 0)
MEGABYTE = 2**20


def test_a_chunked_body_without_a_length_is_accepted(classifier: Server) -> None:
    data = solid(*RED, kind="BMP")
    response = classifier.request(
        "POST", "/invocations", (data[start : start + 100] for start in range(0, len(data), 100))
    )
    assert (response.status, response.json()) == (200, pytest.approx(probabilities(1, 0, 0), abs=1e-5))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_almost_100_mb_is_accepted(classifier: Server, chunked: bool) -> None:
    data = encode(Image.new("RGB", (6000, 5800), GREEN), "BMP")
    assert 99 * MEGABYTE < len(data) < 100 * MEGABYTE
    body = (data[start : start + MEGABYTE] for start in range(0, len(data), MEGABYTE)) if chunked else data
    response = classifier.request("POST", "/invocations", body)
    assert (response.status, response.json()) == (200, pytest.approx(probabilities(0, 1, 0), abs=1e-5))


@pytest.fixture(scope="module")
def of_1_mb(models: Path) -> Iterator[Server]:
    """A server that accepts bodies of up to 1 MiB."""
    with Server(models / "classifier", VISION_MAX_BODY_MB="1") as server:
        yield server.wait_until_ready()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(MEGABYTE, 400), (MEGABYTE + 1, 413), (5 * MEGABYTE, 413)])
def test_a_body_above_the_limit_is_rejected_without_resetting_the_connection(
    of_1_mb: Server, size: int, status: int, chunked: bool
) -> None:
    response = of_1_mb.request("POST", "/invocations", iter([b"x" * size]) if chunked else b"x" * size)
    assert response.status == status, response.reason


def test_a_stalled_body_gets_408_after_the_timeout(models: Path) -> None:
    with Server(models / "classifier", SAGEMAKER_MODEL_SERVER_TIMEOUT="1") as server:
        with server.wait_until_ready().upload(1000, b"x" * 10) as connection:
            started = time.monotonic()
            response = server.response(connection)
            assert response.status == 408
            assert response.reason == "The body did not arrive within 1 s."
            assert time.monotonic() - started < 5
        assert server.request("POST", "/invocations", solid(*RED)).status == 200


def test_a_body_shorter_than_its_content_length_is_rejected(classifier: Server) -> None:
    with classifier.upload(1000, b"x" * 10) as connection:
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_WR)
        response = classifier.response(connection)
        assert response.status == 400
        assert response.reason.startswith("The body ended after 10 bytes")


def test_malformed_chunks_are_rejected(classifier: Server) -> None:
    with contextlib.closing(classifier.connect()) as connection:
        connection.putrequest("POST", "/invocations")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(b"5\r\nhello\r\nnonsense\r\n")
        response = classifier.response(connection)
        assert response.status == 400
        assert response.reason.startswith("The body could not be read completely")
    assert classifier.request("GET", "/ping").status == 200


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1" + b";a=a" * 2000 + b"\r\nx\r\n"], ids=["tiny", "long headers"])
def test_a_body_of_tiny_chunks_or_long_chunk_headers_is_rejected(classifier: Server, chunk: bytes) -> None:
    with contextlib.closing(classifier.connect()) as connection:
        connection.putrequest("POST", "/invocations")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()

        pieces, answered = 0, threading.Event()

        def send() -> None:
            nonlocal pieces
            with contextlib.suppress(OSError):
                while pieces < 500 and not answered.is_set():
                    connection.send(chunk * (2_000_000 // len(chunk)))
                    pieces += 1

        sender = threading.Thread(target=send)
        sender.start()
        response = classifier.response(connection)
        answered.set()
        sender.join()
    assert response.status == 400
    assert response.reason == "The chunks of the body are too small; send chunks of 1048576 bytes."
    assert pieces < 100, "the server must reject the body long before a gigabyte"
