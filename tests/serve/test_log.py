"""The log: one short printable line for each rejected request, without any part of a body."""

import io
import json
from pathlib import Path

from PIL import Image

from tests.photos import solid
from tests.serve.clients import connections, read_responses
from tests.server import Server


def test_each_rejected_request_is_a_line_without_its_body(models: Path) -> None:
    with Server(models / "classifier") as server:
        server.wait_until_ready()
        server.request("POST", "/invocations", b"secret, not an image", {"Content-Type": "text/csv"})
        server.request("GET", "/no%0Awhere")
        server.request("POST", "/invocations", solid(255, 0, 0), {"Accept": "text/html"})
        server.request("POST", "/invocations", b"")
        server.wait_for("400 POST /invocations")
        lines = [line.partition(" WARNING ")[2] for line in server.log() if " WARNING " in line]
    assert [line.partition(": ")[0] for line in lines] == [
        "415 POST /invocations",
        r"404 GET /no\nwhere",
        "406 POST /invocations",
        "400 POST /invocations",
    ]
    assert lines[3].startswith("400 POST /invocations: The image is empty (0 bytes). [id=")
    assert "secret" not in "".join(lines)


def test_lines_are_short_and_printable_for_any_model_and_request(models: Path, tmp_path: Path) -> None:
    described = json.loads((models / "classifier" / "model" / "model.json").read_text())
    described["network"] = "net\n2030-01-01 INFO forged\x1b[2J" + "n" * 100_000
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps(described))
    (tmp_path / "model" / "model.onnx").symlink_to(models / "classifier" / "model" / "model.onnx")
    with Server(tmp_path) as server:
        server.wait_until_ready()
        for body in (b"SECRET", b"P2\nSECRET", b"P6\n3 SECRET", damaged_tiff(), b"\x89PNG\r\n\x1a\nSECRET"):
            assert server.request("POST", "/invocations", body).status == 400
        assert server.request("POST", "/%1b%5b2J", b"SECRET").status == 404
        for accept in ("text/css\xe9", "x" * 8000):
            assert server.request("POST", "/invocations", b"SECRET", {"Accept": accept}).status == 406
        sent = b"POST /ping HTTP/1.1\r\nContent-Length: 1\r\n\r\nxSECRET\x1b[2J\r\n\r\n"
        with connections(server, 1, sent) as [client]:
            assert [response.status for response in read_responses(client)] == [405, 400]
        chunks = b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n\r\n"
        with connections(server, 1, chunks) as [client]:
            assert [response.status for response in read_responses(client)] == [400]
        assert server.request("GET", "/the-end").status == 404
        server.wait_for("the-end")
        lines = server.log()
    assert r"image-classification net\n2030-01-01 INFO forged\x1b[2Jnnn" in "".join(lines[:3])
    for line in lines:
        assert line.isprintable()
        assert len(line) < 1200
        assert "SECRET" not in line
    # Our lines begin with the time, gunicorn's with the time in brackets, and libtiff's with neither.
    assert all(line.lstrip("[").startswith("20") for line in lines), lines


def damaged_tiff() -> bytes:
    """Return a TIFF for which libtiff writes a warning about an invalid code to stderr."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "TIFF", compression="tiff_lzw")
    data = bytearray(file.getvalue())
    data[20:200] = bytes(byte ^ 0x55 for byte in data[20:200])
    return bytes(data)
