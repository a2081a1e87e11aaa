"""Sends seeded hostile requests and checks every response."""

import io
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tests.server import Server

# fmt: off
TYPES = (
    "image/jpeg", "image/png", "application/x-image", "application/octet-stream", "", "*/*", "text/plain", "a",
    "application/json", "application/jsonlines", "text/csv", "application/x-npy", "IMAGE/JPEG; q=\xff", "image/" * 99,
)
ACCEPTS = (
    "", "*/*", "application/json", "application/json;verbose", "application/jsonlines", "image/png", "text/html",
    "application/x-protobuf", "application/json;q=nan", "a/b;q=0.1, application/*;q=1e9", ",;=,", "*/*;q=0",
)
ATTRIBUTES = (
    "threshold=0.5", "threshold=nan", "max_detections=1e9", "max_detections=-1", "tfs-method=regress", "=;,=,",
    "threshold=" + "9" * 900, "threshold=0.5;threshold=x",
)
# fmt: on
STATUSES = {200, 400, 404, 405, 406, 413, 414, 415, 503}


@dataclass(frozen=True)
class Request:
    """A request. It has no body if `body` is None."""

    method: str = "POST"
    path: str = "/invocations"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def requests(seed: int, count: int) -> Iterator[Request]:
    """Yield `count` requests. The same seed gives the same requests."""
    chance = random.Random(seed)
    photos = _photos()
    for _ in range(count):
        kind = chance.random()
        if kind < 0.05:
            path = chance.choice(
                ("/", "/ping", "/invocations/", "/%00", "/models", "/execution-parameters", "/" + "a" * 5000)
            )
            yield Request(chance.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")), path)
            continue
        body = _text(chance) if kind < 0.4 else _mutated(chance, chance.choice(photos), photos)
        headers = {
            "Content-Type": chance.choice(TYPES if chance.random() < 0.5 else ("image/jpeg", "application/json")),
            "Accept": chance.choice(ACCEPTS) if chance.random() < 0.5 else "",
            "X-Amzn-SageMaker-Custom-Attributes": chance.choice(ATTRIBUTES) if chance.random() < 0.3 else "",
        }
        yield Request(headers={name: value for name, value in headers.items() if value}, body=body)


def _photos() -> list[bytes]:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 4), np.uint8))
    photos = []
    for mode, kind, options in (
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("RGB", "PNG", {}),
        ("1", "PNG", {}),
        ("RGB", "GIF", {}),
        ("RGB", "BMP", {}),
        ("L", "PPM", {}),
        ("RGB", "WEBP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("CMYK", "TIFF", {}),
    ):
        file = io.BytesIO()
        pixels.convert(mode).save(file, kind, **options)
        photos.append(file.getvalue())
    return photos


def _mutated(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return the file with changed bytes, large numbers, or parts repeated, removed or replaced from another file."""
    damaged = bytearray(data)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(damaged))
        match chance.randrange(6):
            case 0:
                damaged[at] = chance.randrange(256)
            case 1:
                damaged[at : at + 4] = chance.choice(
                    (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\x00\x00\xff\xff")
                )
            case 2:
                end = at + chance.randrange(1, 64)
                damaged[at:end] = damaged[at:end] * chance.randrange(200)
            case 3:
                del damaged[at:]
            case 4:
                other = chance.choice(others)
                damaged[at:] = other[chance.randrange(len(other)) :]
            case 5:
                damaged[min(at, 64)] ^= 1 << chance.randrange(8)
        if not damaged:
            break
    return bytes(damaged)


def _text(chance: random.Random) -> bytes:
    """Return a valid or invalid body of JSON, JSON Lines or CSV."""
    match chance.randrange(6):
        case 0:
            return json.dumps({chance.choice(("instances", "inputs", "examples", "x")): _value(chance, 4)}).encode()
        case 1:
            signature = chance.choice(("words", "sum", "", None, 7, "\x1b[31m\nred"))
            return json.dumps({"signature_name": signature, "instances": _value(chance, 3)}).encode()
        case 2:
            return "\n".join(json.dumps(_value(chance, 2)) for _ in range(chance.randrange(5))).encode()
        case 3:
            return chance.choice((b"[", b'{"instances":')) * chance.choice((1, 70, 100_000))
        case 4:
            return chance.choice((b"1,2\n", b"1\r", b'"', b"a,b\n\n", b"1e999,nan\n", b"\xff\xfe")) * chance.randrange(
                300
            )
        case _:
            return chance.randbytes(chance.randrange(200))


def _value(chance: random.Random, depth: int) -> object:
    if depth == 0 or chance.random() < 0.2:
        return chance.choice(
            (0, 1.5, -1, 2**63, 2**70, 1e308, True, None, "", "a", {"b64": "YQ=="}, {"b64": "?"}, {"b64": 1}, [])
        )
    if chance.random() < 0.2:
        return {chance.choice(("image", "x", "a", "b")): _value(chance, depth - 1) for _ in range(2)}
    if chance.random() < 0.1:
        nested: object = "deep"
        for _ in range(chance.choice((10, 64, 65, 400))):
            nested = [nested]
        return nested
    return [_value(chance, depth - 1) for _ in range(chance.randrange(4))]


def attack(server: Server, hostile: Iterator[Request]) -> Counter[int]:
    """Send the requests one after the other and return the number of responses by status.

    Raise AssertionError unless each response has one of STATUSES and the documented form. After every hundredth
    request, /ping must respond within 2 s.
    """
    counts: Counter[int] = Counter()
    for number, request in enumerate(hostile):
        response = server.request(request.method, request.path, request.body, request.headers, timeout=60)
        assert response.status in STATUSES, (number, response, request)
        if response.status >= 400 and request.method != "HEAD":
            assert response.json()["status"] == response.status, (number, response, request)
        counts[response.status] += 1
        if number % 100 == 0:
            started = time.monotonic()
            assert server.request("GET", "/ping").status == 200
            assert time.monotonic() - started < 2
    return counts
