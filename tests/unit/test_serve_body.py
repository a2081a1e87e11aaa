"""Reading a body: the error names the limit that was reached."""

import itertools
import socket
import time
from types import SimpleNamespace

import pytest

from serve.http import body, connection
from serve.http.connection import Connection
from serve.http.errors import BodyTimeout


def test_a_late_body_is_not_reported_as_slow_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock advances by 0.4 s each time it is read."""
    ticks = itertools.count(0, 0.4)
    clock = SimpleNamespace(monotonic=lambda: next(ticks), thread_time=time.thread_time)
    monkeypatch.setattr(body, "time", clock)
    monkeypatch.setattr(connection, "time", clock)
    server, client = socket.socketpair()
    with client, Connection(fileno=server.detach()) as reader:
        environ = {"gunicorn.socket": reader, "wsgi.input": SimpleNamespace(read=reader.recv)}
        with pytest.raises(BodyTimeout, match=r"^The body did not arrive within 1 s\.$"):
            body.read(environ, 100, 1, lambda size: None)
