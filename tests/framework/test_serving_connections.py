"""The real server and clients that send slowly, in pieces, nothing at all or nonsense: others are still answered."""

import contextlib
import http.client
import io
import json
import os
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from serve import artifact
from tests.environments import python
from tests.framework import bodies_serving as bodies
from tests.server import Server

Run = Callable[..., Any]
Crowd = list[socket.socket]

HALF = b"GET /ping HTTP/1.1\r\n"
NO_FILE = "cannot be read: it is not a file. Make it readable, or train again."
SLOW_BODY = b"POST /invocations HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"


@pytest.fixture(scope="module")
def base(in_mxnet: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like /opt/ml with a classifier."""
    folder = tmp_path_factory.mktemp("ml")
    in_mxnet(bodies.make_model, folder / "model")
    return folder


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    """One server for all tests that leave it as it was. Two predictions at once and two in line, on any machine."""
    with Server(base, VISION_CONCURRENT_PREDICTIONS="2", VISION_QUEUE_SIZE="2") as started:
        yield started.wait_until_ready()
        assert len([line for line in started.log() if "Booting worker" in line]) == 1, "the worker was restarted"


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), (255, 0, 0)).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def crowd(server: Server, count: int, sent: bytes) -> Iterator[Crowd]:
    """So many connections, each of which has sent that much."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            client.sendall(sent)
            clients.append(client)
        yield clients


@contextlib.contextmanager
def trickling(clients: Crowd, byte: bytes) -> Iterator[None]:
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
    """The status of /ping, which must come in time."""
    begun = time.monotonic()
    status = server.ask("GET", "/ping", timeout=10)[0]
    assert time.monotonic() - begun < 2
    return status


def prediction(server: Server, photo: bytes) -> int:
    """The status of a good request, which must come in time."""
    begun = time.monotonic()
    status = server.ask("POST", "/invocations", photo, timeout=10)[0]
    assert time.monotonic() - begun < 2
    return status


def answers(client: socket.socket) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of each answer that comes until the server closes."""
    with client.makefile("rb") as stream:
        return list(iter(lambda: _answer(stream), None))


def _answer(stream: Any) -> tuple[int, dict[str, str], bytes] | None:
    line = stream.readline()
    if not line:
        return None
    headers = {name.lower(): value for name, value in http.client.parse_headers(stream).items()}
    return int(line.split()[1]), headers, stream.read(int(headers.get("content-length", 0)))


def reason(answer: tuple[int, dict[str, str], bytes]) -> str:
    """The reason in an error's JSON, whatever in the server has written it."""
    status, headers, body = answer
    assert headers["content-type"] == "application/json"
    document = json.loads(body)
    assert document == {"status": status, "error": document["reason"], "reason": document["reason"]}
    return document["reason"]


# --- slow and silent clients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20])
def test_half_a_head_keeps_nobody_waiting(server: Server, photo: bytes, count: int) -> None:
    with crowd(server, count, HALF), crowd(server, count, SLOW_BODY[:30]):
        for _ in range(3):
            assert health(server) == 200
            assert prediction(server, photo) == 200


def test_200_slow_heads_keep_nobody_waiting_and_are_given_10_seconds(server: Server, photo: bytes) -> None:
    begun = time.monotonic()
    with crowd(server, 200, HALF) as clients, trickling(clients, b"x"):
        with selectors.DefaultSelector() as first:
            first.register(clients[0], selectors.EVENT_READ)
            while not first.select(0.2):
                assert health(server) == 200
                assert prediction(server, photo) == 200
                assert time.monotonic() - begun < 15
        assert time.monotonic() - begun >= 10
        for client in clients:
            [answer] = answers(client)
            assert answer[0] == 408
            assert reason(answer) == "The request line and headers did not arrive whole within 10 s."
        assert time.monotonic() - begun < 15


def test_200_slow_bodies_keep_nobody_waiting_and_are_given_10_seconds(server: Server, photo: bytes) -> None:
    begun = time.monotonic()
    with crowd(server, 200, SLOW_BODY) as clients, trickling(clients, b"x"), selectors.DefaultSelector() as waiting:
        for client in clients:
            waiting.register(client, selectors.EVENT_READ)
        late = []
        while waiting.get_map():
            assert health(server) == 200
            assert prediction(server, photo) == (503 if len(waiting.get_map()) >= 4 else 200)
            assert time.monotonic() - begun < 20
            for key, _ in waiting.select(0.2):
                waiting.unregister(key.fileobj)
                answer = _answer(key.fileobj.makefile("rb"))
                assert answer is not None
                if answer[0] == 408:
                    late.append(answer)
                else:
                    assert (answer[0], reason(answer)[:18]) == (503, "The server is busy")
                    assert time.monotonic() - begun < 8
        assert len(late) == 4, "two predict and two are in line"
        for answer in late:
            assert reason(answer) == "The body arrived at less than 1000 bytes/s for 10 s."
        assert time.monotonic() - begun < 15
    assert prediction(server, photo) == 200


@pytest.mark.parametrize("sent", [b"", HALF, SLOW_BODY])
def test_1100_connections_keep_nobody_waiting_and_the_oldest_are_closed(
    server: Server, photo: bytes, sent: bytes
) -> None:
    room_for_files(1100 + 200)
    with crowd(server, 1100, sent) as clients:
        for _ in range(3):
            assert health(server) == 200
            assert prediction(server, photo) == (503 if sent == SLOW_BODY else 200)
        if sent != SLOW_BODY:  # those are refused
            assert clients[0].recv(1) == b""
            clients[-1].setblocking(False)
            with pytest.raises(BlockingIOError):
                clients[-1].recv(1)
    wait_for(lambda: prediction(server, photo) == 200)


def room_for_files(count: int) -> None:
    """Let this process, and what it starts from now on, open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Ask until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end


def test_where_few_files_may_be_open_fewer_connections_are_held(base: Path, photo: bytes, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nulimit -n 200\nexec {python("serve")} "$@"\n')
    interpreter.chmod(0o755)
    with Server(base, interpreter) as started:
        started.wait_until_ready()
        with crowd(started, 300, HALF):
            assert health(started) == 200
            assert prediction(started, photo) == 200
        assert not [line for line in started.log() if "Traceback" in line]


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1" + b";a=a" * 2000 + b"\r\nx\r\n"], ids=["tiny", "long headers"])
def test_a_body_of_chunks_that_are_mostly_headers_is_given_up(server: Server, chunk: bytes) -> None:
    begun = time.monotonic()
    with crowd(server, 1, b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n") as [client]:

        def send() -> None:
            with contextlib.suppress(OSError):
                for _ in range(500):  # a gigabyte, until the server has enough
                    client.sendall(chunk * (2_000_000 // len(chunk)))

        sender = threading.Thread(target=send)
        sender.start()
        answer = _answer(client.makefile("rb"))
        sender.join()
    assert answer is not None
    assert answer[0] == 400
    assert reason(answer) == "The body comes in chunks that are too small; send some of 1048576 bytes."
    assert time.monotonic() - begun < 12  # whole they would take twenty and more


def test_ping_with_a_slow_body_keeps_no_other_ping_waiting(server: Server) -> None:
    with crowd(server, 64, b"GET /ping HTTP/1.1\r\nContent-Length: 1000\r\n\r\n") as clients:
        for _ in range(3):
            assert health(server) == 200
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"


# --- correct clients ------------------------------------------------------------------------------------------------


def test_requests_in_one_piece_and_byte_by_byte_are_answered_in_order(server: Server, photo: bytes) -> None:
    posted = b"POST /invocations HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo
    chunked = b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    requests = [
        (b"\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (posted, 200),
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (chunked % (len(photo), photo), 200),
        (b"POST /ping HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"HEAD /ping HTTP/1.1\r\n\r\n", 200),
        (posted, 200),
        (b"GET /execution-parameters HTTP/1.1\r\nConnection: close\r\n\r\n", 200),
    ]
    together = b"".join(request for request, _ in requests)
    for size in (len(together), 1000, 7, 1):
        with crowd(server, 1, b"") as [client]:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(together), size):
                client.sendall(together[start : start + size])
            found = answers(client)
        assert [answer[0] for answer in found] == [status for _, status in requests], size
        assert found[1][2] == found[3][2] == found[6][2] != b""


def test_a_head_that_comes_with_the_body_before_is_not_waited_for(server: Server, photo: bytes) -> None:
    posted = b"POST /invocations HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo
    ping = b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n"
    for cut in (1, 5, len(ping) - 1):
        with crowd(server, 1, posted + ping[:cut]) as [client], client.makefile("rb") as stream:
            assert _answer(stream)[0] == 200
            client.sendall(ping[cut:])
            assert _answer(stream)[0] == 200
            assert stream.read() == b""


def test_a_refused_request_does_not_cost_the_connection(server: Server, photo: bytes) -> None:
    with contextlib.closing(server.connect()) as connection:
        for headers, status in (
            ({"Content-Encoding": "gzip"}, 415),
            ({}, 200),
            ({"Accept": "text/css"}, 406),
            ({}, 200),
        ):
            connection.request("POST", "/invocations", photo * (10 if status == 415 else 1), headers)
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert connection.sock is not None, "the server closed the connection"


# --- SIGTERM --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_after_sigterm_new_connections_are_refused_while_a_request_finishes(
    base: Path, photo: bytes, workers: str
) -> None:
    with Server(base, SAGEMAKER_MODEL_SERVER_WORKERS=workers) as started:
        wait_for(lambda: len([line for line in started.log() if "/ping answers 200" in line]) == int(workers), 60)
        with started.upload(len(photo), photo[:5]) as upload, crowd(started, 5, b""):
            started.terminate()
            started.wait_for("Handling signal: term")

            def refused() -> bool:
                # It may be closed in the middle of a handshake.
                with contextlib.suppress(ConnectionResetError, TimeoutError):
                    try:
                        socket.create_connection(("127.0.0.1", started.port), timeout=1).close()
                    except ConnectionRefusedError:
                        return True
                return False

            wait_for(refused, 5)
            upload.send(photo[5:])
            assert upload.getresponse().status == 200
            assert started.wait(10) == 0, "idle connections keep nothing alive"


# --- what is no HTTP ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "says"),
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
            "The request line and headers have more than 32768 bytes",
        ),
        (
            b"GET /ping HTTP/1.1\r\nTransfer-Encoding: tea\r\n\r\n",
            501,
            "The request cannot be read: Unsupported transfer",
        ),
    ],
)
def test_what_is_no_http_is_told_so_in_json_at_once(server: Server, sent: bytes, status: int, says: str) -> None:
    begun = time.monotonic()
    with crowd(server, 1, sent) as [client]:
        [answer] = answers(client)
    assert time.monotonic() - begun < 5
    assert (answer[0], answer[1]["connection"]) == (status, "close")
    assert reason(answer).startswith(says)
    assert reason(answer).isprintable()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_refused_by_its_encoding(server: Server, photo: bytes, encoding: str) -> None:
    status, _, body = server.ask("POST", "/invocations", photo, {"Content-Encoding": encoding})
    said = f"Content-Encoding {encoding} is not served; send the bytes as they are."
    assert (status, json.loads(body)["reason"]) == (415, said)


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_as_it_is_may_say_so(server: Server, photo: bytes, encoding: str) -> None:
    assert server.ask("POST", "/invocations", photo, {"Content-Encoding": encoding})[0] == 200


# --- the log --------------------------------------------------------------------------------------------------------


def test_the_log_holds_short_printable_lines_and_nothing_of_a_body(base: Path, tmp_path: Path) -> None:
    described = artifact.read(base / "model")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").symlink_to(base / "model" / "model.onnx")
    text = json.loads((base / "model" / "model.json").read_text())
    assert described.network == text["network"]
    text["network"] = "net\n2030-01-01 INFO forged\x1b[2J" + "n" * 100_000
    (tmp_path / "model" / "model.json").write_text(json.dumps(text))
    with Server(tmp_path) as started:
        started.wait_until_ready()
        for body in (b"SECRET", b"P2\nSECRET", b"P6\n3 SECRET", damaged_tiff(), b"\x89PNG\r\n\x1a\nSECRET"):
            assert started.ask("POST", "/invocations", body)[0] == 400
        assert started.ask("POST", "/%1b%5b2J", b"SECRET")[0] == 404
        for accept in ("text/css\xe9", "x" * 8000):
            assert started.ask("POST", "/invocations", b"SECRET", {"Accept": accept})[0] == 406
        with crowd(started, 1, b"POST /ping HTTP/1.1\r\nContent-Length: 1\r\n\r\nxSECRET\x1b[2J\r\n\r\n") as [client]:
            assert [answer[0] for answer in answers(client)] == [405, 400]
        chunks = b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n\r\n"
        with crowd(started, 1, chunks) as [client]:
            assert [answer[0] for answer in answers(client)] == [400]
        assert started.ask("GET", "/the-end")[0] == 404
        started.wait_for("the-end")
        lines = started.log()
    assert r"image-classification net\n2030-01-01 INFO forged\x1b[2Jnnn" in "".join(lines[:3])
    for line in lines:
        assert line.isprintable()
        assert len(line) < 1200
        assert "SECRET" not in line
    # What is ours begins with the time, what is gunicorn's with the time in brackets; libtiff writes neither.
    assert all(line.lstrip("[").startswith("20") for line in lines), lines


def damaged_tiff() -> bytes:
    """A TIFF of which libtiff says on stderr that it has a code that is not in its table."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "TIFF", compression="tiff_lzw")
    data = bytearray(file.getvalue())
    data[20:200] = bytes(byte ^ 0x55 for byte in data[20:200])
    return bytes(data)


# --- model.json -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[" * 5000 + "]" * 5000, "is nested too deeply. Restore the file that `train` wrote."),
        ('{"a": %s}' % ("9" * 5000), "has a number of too many digits. Restore the file that `train` wrote."),
        (os.mkfifo, "cannot be read: it is not a file. Make it readable, or train again."),
        (
            lambda path: path.symlink_to("/dev/zero"),
            "cannot be read: it is not a file. Make it readable, or train again.",
        ),
    ],
    ids=["nested", "digits", "pipe", "device"],
)
def test_model_json_that_cannot_be_read_ends_the_server_with_a_sentence(
    tmp_path: Path, content: Any, says: str
) -> None:
    path = tmp_path / "model" / "model.json"
    path.parent.mkdir()
    if isinstance(content, str):
        path.write_text(content)
    else:
        content(path)
    with Server(tmp_path) as started:
        assert started.wait(20) == 1
        assert started.wait_for("serve: ") == f"serve: {path} {says}"
        assert started.log() == [f"serve: {path} {says}", "(end of the log)"]
