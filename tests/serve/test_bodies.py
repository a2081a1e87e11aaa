"""How a body may arrive: with or without a length, large, in chunks; and what ends the wait for one that does not."""

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


def test_chunked_body_without_a_length_is_answered(classifier: Server) -> None:
    data = solid(*RED, kind="BMP")
    answer = classifier.request("POST", "/invocations", (data[start : start + 100] for start in range(0, len(data), 100)))
    assert (answer.status, answer.json()) == (200, pytest.approx(probabilities(1, 0, 0), abs=1e-5))


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_almost_100_mb_is_answered(classifier: Server, chunked: bool) -> None:
    data = encode(Image.new("RGB", (6000, 5800), GREEN), "BMP")
    assert 99 * MEGABYTE < len(data) < 100 * MEGABYTE
    body = (data[start : start + MEGABYTE] for start in range(0, len(data), MEGABYTE)) if chunked else data
    answer = classifier.request("POST", "/invocations", body)
    assert (answer.status, answer.json()) == (200, pytest.approx(probabilities(0, 1, 0), abs=1e-5))


@pytest.fixture(scope="module")
def of_1_mb(models: Path) -> Iterator[Server]:
    """A server that takes bodies of up to 1 MiB."""
    with Server(models / "classifier", VISION_MAX_BODY_MB="1") as server:
        yield server.wait_until_ready()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(MEGABYTE, 400), (MEGABYTE + 1, 413), (5 * MEGABYTE, 413)])
def test_body_beyond_the_limit_is_refused_without_a_reset_connection(
    of_1_mb: Server, size: int, status: int, chunked: bool
) -> None:
    answer = of_1_mb.request("POST", "/invocations", iter([b"x" * size]) if chunked else b"x" * size)
    assert answer.status == status, answer.reason


def test_body_that_stops_arriving_is_given_up_after_the_timeout(models: Path) -> None:
    with Server(models / "classifier", SAGEMAKER_MODEL_SERVER_TIMEOUT="1") as server:
        with server.wait_until_ready().upload(1000, b"x" * 10) as connection:
            begun = time.monotonic()
            answer = server.response(connection)
            assert answer.status == 408
            assert answer.reason == "The body did not arrive whole within 1 s."
            assert time.monotonic() - begun < 5
        assert server.request("POST", "/invocations", solid(*RED)).status == 200


def test_body_shorter_than_its_length_is_refused(classifier: Server) -> None:
    with classifier.upload(1000, b"x" * 10) as connection:
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_WR)
        answer = classifier.response(connection)
        assert answer.status == 400
        assert answer.reason.startswith("The body ended after 10 bytes")


def test_malformed_chunks_are_refused(classifier: Server) -> None:
    with contextlib.closing(classifier.connect()) as connection:
        connection.putrequest("POST", "/invocations")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(b"5\r\nhello\r\nnonsense\r\n")
        answer = classifier.response(connection)
        assert answer.status == 400
        assert answer.reason.startswith("The body could not be read to its end")
    assert classifier.request("GET", "/ping").status == 200


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1" + b";a=a" * 2000 + b"\r\nx\r\n"], ids=["tiny", "long headers"])
def test_a_body_of_chunks_that_are_mostly_headers_is_given_up(classifier: Server, chunk: bytes) -> None:
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
        answer = classifier.response(connection)
        answered.set()
        sender.join()
    assert answer.status == 400
    assert answer.reason == "The body comes in chunks that are too small; send some of 1048576 bytes."
    assert pieces < 100, "the server has had enough long before a gigabyte"
