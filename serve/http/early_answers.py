"""Answers to requests that the application never sees, in JSON as its own are: to a head that cannot be read."""

import contextlib
import json
import socket
from http import HTTPStatus

from gunicorn.http import errors

from serve.http.errors import document
from serve.http.log import printable

_SHOWN = 300  # characters of what is wrong with a head
_STATUS = {
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.LimitRequestLine: 414,
    errors.UnsupportedTransferCoding: 501,
}
_OURS = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


def refusal(error: BaseException) -> tuple[int, str, str] | None:
    """The status and the reason for a client whose head cannot be read, and for the log; None for a fault of ours."""
    if not isinstance(error, errors.ParseException) or isinstance(error, _OURS):
        return None
    reason = f"The request cannot be read: {printable(str(error), _SHOWN)}."
    return _STATUS.get(type(error), 400), reason, f"the request cannot be read ({type(error).__name__})"


def send(client: socket.socket, status: int, reason: str) -> None:
    """Write an answer, the last one of a connection, unless the client is gone."""
    body = json.dumps(document(status, reason))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        client.sendall((head + body).encode())
