"""JSON error responses to requests that never reach the application, such as invalid headers."""

import contextlib
import json
import socket
from http import HTTPStatus

from gunicorn.http import errors

from serve.http.errors import document
from serve.http.log import printable

_MAX_CHARS = 300  # of a parser's message
_STATUS = {
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.LimitRequestLine: 414,
    errors.UnsupportedTransferCoding: 501,
}
_SERVER_ERRORS = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


def client_error(error: BaseException) -> tuple[int, str, str] | None:
    """Return the status, the reason for the client and the reason for the log; None if the server is at fault."""
    if not isinstance(error, errors.ParseException) or isinstance(error, _SERVER_ERRORS):
        return None
    reason = f"The request cannot be read: {printable(str(error), _MAX_CHARS)}."
    return _STATUS.get(type(error), 400), reason, f"the request cannot be read ({type(error).__name__})"


def send(client: socket.socket, status: int, reason: str) -> None:
    """Send the last response of a connection, unless the client is gone."""
    body = json.dumps(document(status, reason))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        client.sendall((head + body).encode())
