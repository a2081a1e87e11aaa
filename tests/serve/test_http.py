"""HTTP requests in one piece or byte by byte, and the errors for invalid HTTP."""

import socket
import time

import pytest

from serve import machine
from tests.photos import solid
from tests.serve.clients import connections, read_response, read_responses
from tests.server import Server

PHOTO = solid(255, 0, 0)
POST = b"POST /invocations HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO
CHUNKED = b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PHOTO), PHOTO)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/ping", None, 200),
        ("HEAD", "/ping", None, 200),
        ("GET", "/execution-parameters", None, 200),
        ("POST", "/invocations", PHOTO, 200),
        ("POST", "/invocations", b"", 400),
        ("GET", "/invocations", None, 405),
        ("GET", "/nowhere", None, 404),
    ],
)
def test_every_response_has_a_content_length_and_short_headers(
    classifier: Server, method: str, path: str, body: bytes | None, status: int
) -> None:
    """Async endpoints reject chunked responses and headers of more than 4096 bytes."""
    strange = {"X-Amzn-SageMaker-Custom-Attributes": "a" * 1024, "X-Unknown": "b" * 2000}
    response = classifier.request(method, path, body, strange)
    assert response.status == status
    assert "transfer-encoding" not in response.headers
    assert int(response.headers["content-length"]) == len(response.body)
    assert sum(len(name) + len(value) + 4 for name, value in response.headers.items()) < 1024


def test_execution_parameters_keep_concurrency_times_payload_within_100_mb(classifier: Server) -> None:
    document = classifier.request("GET", "/execution-parameters").json()
    assert document["BatchStrategy"] == "SINGLE_RECORD"
    assert document["MaxConcurrentTransforms"] == machine.cpu_count()
    assert 0 < document["MaxConcurrentTransforms"] * document["MaxPayloadInMB"] <= 100


@pytest.mark.parametrize("size", [10_000, 1000, 7, 1])
def test_requests_split_into_pieces_of_any_size_get_responses_in_order(classifier: Server, size: int) -> None:
    requests = [
        (b"\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (POST, 200),
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (CHUNKED, 200),
        (b"POST /ping HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"HEAD /ping HTTP/1.1\r\n\r\n", 200),
        (POST, 200),
        (b"GET /execution-parameters HTTP/1.1\r\nConnection: close\r\n\r\n", 200),
    ]
    together = b"".join(request for request, _ in requests)
    with connections(classifier, 1, b"") as [client]:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(together), size):
            client.sendall(together[start : start + size])
        responses = read_responses(client)
    assert [response.status for response in responses] == [status for _, status in requests]
    assert responses[1].body == responses[3].body == responses[6].body != b""


@pytest.mark.parametrize("cut", [1, 5, -1])
def test_headers_that_arrive_with_the_previous_body_are_read_at_once(classifier: Server, cut: int) -> None:
    ping = b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n"
    with connections(classifier, 1, POST + ping[:cut]) as [client], client.makefile("rb") as stream:
        first = read_response(stream)
        assert first is not None
        assert first.status == 200
        client.sendall(ping[cut:])
        second = read_response(stream)
        assert second is not None
        assert second.status == 200
        assert stream.read() == b""


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (b"hello\r\n\r\n", 400, "The request cannot be read: Invalid HTTP request line: 'hello'."),
        (b"GET /ping HTTP/1.1\nHost: a\n\n", 400, "The request cannot be read: Invalid HTTP request line: 'bare LF"),
        (b"GET /ping HTTP/1.1\r\nHost: a\n", 400, "The request cannot be read: Invalid HTTP Header: 'bare LF"),
        (b"\r\n\r\n", 400, "The request cannot be read: Invalid HTTP request line: ''."),
        (b"GET /ping HTTP/9.9\r\n\r\n", 400, "The request cannot be read: Invalid HTTP Version"),
        (b"GET /ping HTTP/1.1\r\na\x1b[2J: b\r\n\r\n", 400, "The request cannot be read: Invalid HTTP header name"),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "The request cannot be read: Invalid HTTP H"),
        (b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 5000), 414, "The request cannot be read: Request Line is too large"),
        (b"GET /ping HTTP/1.1\r\nExpect: tea\r\n\r\n", 417, "The request cannot be read: Unable to comply with"),
        (b"GET /ping HTTP/1.1\r\na: %b\r\n\r\n" % (b"x" * 9000), 431, "The request cannot be read: limit request"),
        (b"GET /ping HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431, "The request cannot be read: limit request"),
        (
            b"GET /ping HTTP/1.1\r\n" + b"a: b\r\n" * 9000,
            431,
            "The request line and headers exceed the limit of 32768 bytes",
        ),
        (
            b"GET /ping HTTP/1.1\r\nTransfer-Encoding: tea\r\n\r\n",
            501,
            "The request cannot be read: Unsupported transfer",
        ),
    ],
)
def test_invalid_http_gets_a_json_error_at_once(classifier: Server, sent: bytes, status: int, message: str) -> None:
    started = time.monotonic()
    with connections(classifier, 1, sent) as [client]:
        [response] = read_responses(client)
    assert time.monotonic() - started < 5
    assert (response.status, response.headers["connection"]) == (status, "close")
    assert response.reason.startswith(message)
    assert response.reason.isprintable()
