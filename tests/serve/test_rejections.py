"""Rejected requests: status, JSON reason, and no effect on the requests that follow."""

import contextlib

import pytest
from PIL import Image

from tests.photos import encode, quarters, solid
from tests.server import Server

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", {}, 400, "The image is empty (0 bytes)."),
        (encode(quarters(90, 60))[:-40], {"Content-Type": "image/jpeg"}, 400, "The image is truncated"),
        (b"hello, world", {"Content-Type": "image/jpeg"}, 400, "The body is not an image: it starts with 'hello, wo"),
        (encode(Image.new("1", (20000, 20000)), "PNG"), {}, 400, "The image has 20000 x 20000 pixels, and the"),
        (b"1,2,3", {"Content-Type": "text/csv"}, 415, "Content-Type text/csv is not supported; send"),
        (b"{}", {"Content-Type": "application/json; charset=utf-8"}, 415, "Content-Type application/json"),
        (solid(*RED), {"Content-Type": "application/zip"}, 415, "Content-Type application/zip"),
        (solid(*RED), {"Accept": "text/html"}, 406, "Accept text/html is not supported; request application/json"),
    ],
    ids=["empty", "truncated", "no-image", "bomb", "csv", "json", "zip", "accept"],
)
def test_a_bad_request_gets_a_status_and_a_reason_and_the_next_request_succeeds(
    classifier: Server, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    response = classifier.request("POST", "/invocations", body, headers)
    assert response.status == status
    assert response.reason.startswith(message)
    assert classifier.request("POST", "/invocations", solid(*GREEN)).status == 200


def test_an_unknown_path_or_method_gets_a_json_error(classifier: Server) -> None:
    there_is = "The routes are /ping (GET), /invocations (POST), /execution-parameters (GET) and /metrics (GET)."
    assert classifier.request("GET", "/nowhere").reason == f"'/nowhere' does not exist. {there_is}"
    assert classifier.request("POST", "/models", b"x" * 200_000).status == 404
    response = classifier.request("GET", "/invocations")
    assert (response.status, set(response.headers["allow"].split(", "))) == (405, {"OPTIONS", "POST"})
    assert response.reason == f"/invocations does not accept GET. {there_is}"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_rejected_with_its_encoding(classifier: Server, encoding: str) -> None:
    response = classifier.request("POST", "/invocations", solid(*RED), {"Content-Encoding": encoding})
    assert response.status == 415
    assert response.reason == f"Content-Encoding {encoding} is not supported; send the body unencoded."


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_an_uncompressed_body_may_have_a_content_encoding_of_identity(classifier: Server, encoding: str) -> None:
    assert classifier.request("POST", "/invocations", solid(*RED), {"Content-Encoding": encoding}).status == 200


@pytest.mark.parametrize(
    "requests",
    [
        [({}, solid(*RED), 200), ({}, b"x" * 300_000, 400), ({}, solid(*RED), 200), ({}, b"", 400)],
        [
            ({"Content-Encoding": "gzip"}, solid(*RED) * 10, 415),
            ({}, solid(*RED), 200),
            ({"Accept": "text/css"}, solid(*RED), 406),
            ({}, solid(*RED), 200),
        ],
    ],
    ids=["bodies", "headers"],
)
def test_a_rejected_request_keeps_the_connection_open(
    classifier: Server, requests: list[tuple[dict[str, str], bytes, int]]
) -> None:
    with contextlib.closing(classifier.connect()) as connection:
        for headers, body, status in requests:
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert connection.sock is not None, "the server closed the connection"


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/ping", 405)])
def test_a_client_that_sends_a_large_rejected_body_first_gets_the_response(
    classifier: Server, path: str, status: int, connection: str
) -> None:
    for _ in range(20):
        assert classifier.request("POST", path, b"x" * 2_000_000, {"Connection": connection}).status == status
