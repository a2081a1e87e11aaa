"""Runs the real `serve` in its environment and sends requests to it."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.environments import REPOSITORY, python


class Response(NamedTuple):
    """An HTTP response. The names of the headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Check the headers and return the body's JSON."""
        assert self.headers["content-type"] == "application/json", self
        assert int(self.headers["content-length"]) == len(self.body)
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of an error response. TensorFlow Serving's key `error` repeats it."""
        document = self.json()
        assert document == {"status": self.status, "reason": document["reason"], "error": document["reason"]}
        return document["reason"]


class Server:
    """Runs `python -m serve` while the block runs. `base` holds the folder `model`, as /opt/ml does."""

    port: int

    def __init__(self, base: Path, interpreter: Path | None = None, **variables: str) -> None:
        self._python = interpreter or python("serve")
        self._variables = {"SAGEMAKER_BASE_DIR": str(base), "PYTHONUNBUFFERED": "1", **variables}
        self._lines: list[str] = []
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        # Stays bound while the server runs, so that no other connection takes the port. The server can still listen,
        # because it sets SO_REUSEADDR too.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = self._reserved.getsockname()[1]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGEMAKER_", "VISION_"))}
        ours = {"SAGEMAKER_BIND_TO_PORT": str(self.port), "PYTHONPATH": str(REPOSITORY)}
        self.process = subprocess.Popen(
            [self._python, "-m", "serve"],
            env=kept | ours | self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the workers too, which would take seconds to notice
        self.process.wait(30)
        self._reader.join(30)
        self._reserved.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                with self._news:
                    self._lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._lines.append("(end of the log)")
            self._news.notify_all()

    def log(self) -> list[str]:
        with self._news:
            return list(self._lines)

    def wait_for(self, pattern: str, seconds: float = 60, times: int = 1) -> str:
        """Wait until `times` lines of the log match `pattern`, and return the first one.

        Fail if the server ends or the time runs out.
        """

        def matching() -> list[str]:
            return [line for line in self._lines if re.search(pattern, line)]

        with self._news:
            self._news.wait_for(lambda: len(matching()) >= times or "(end of the log)" in self._lines, seconds)
            lines = matching()
        assert len(lines) >= times, f"no line with {pattern!r} in {seconds:g} s:\n" + "\n".join(self.log())
        return lines[0]

    def wait_until_ready(self) -> Self:
        self.wait_for("/ping returns 200")
        return self

    def wait(self, seconds: float = 60) -> int:
        """Wait for the process to end and the log to be complete, and return the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(30)
        return code

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def connect(self, timeout: float = 30) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Response:
        """Send one request on a new connection and return the response."""
        with contextlib.closing(self.connect(timeout)) as connection:
            connection.request(method, path, body, dict(headers or {}), encode_chunked=True)
            return self.response(connection)

    @staticmethod
    def response(connection: http.client.HTTPConnection) -> Response:
        """Return the response to the request that `connection` has sent."""
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, headers, response.read())

    @contextlib.contextmanager
    def upload(self, length: int, sent: bytes) -> Iterator[http.client.HTTPConnection]:
        """Start a POST of `length` bytes, wait until the server has read the headers, and send the bytes `sent`."""
        with contextlib.closing(self.connect()) as connection:
            connection.putrequest("POST", "/invocations")
            connection.putheader("Content-Length", str(length))
            connection.putheader("Expect", "100-continue")
            connection.endheaders()
            assert connection.sock is not None
            interim = b""
            while not interim.endswith(b"\r\n\r\n"):  # byte by byte, because an early response may follow immediately
                byte = connection.sock.recv(1)
                assert byte, "the server did not send 100 Continue"
                interim += byte
            assert interim.startswith(b"HTTP/1.1 100"), "the server did not send 100 Continue"
            connection.send(sent)
            yield connection
