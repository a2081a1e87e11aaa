"""Reading a request's body from WSGI: whole, within a size and a time, with or without a Content-Length."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from gunicorn.http.errors import ParseException

from serve.errors import BadRequest, BodyTimeout, TooLarge
from serve.words import plural

_CHUNK = 64 * 1024


def read(environ: Mapping[str, Any], limit: int, seconds: float) -> bytes:
    """The body, at most `limit` bytes.

    Raises TooLarge (before reading where the Content-Length tells), BodyTimeout when it has not arrived after
    `seconds`, BadRequest when it ends early or its chunks are malformed.
    """
    announced = int(environ.get("CONTENT_LENGTH") or 0)
    if announced > limit:
        raise TooLarge(f"The body has {announced} bytes, the limit is {limit}.")
    body = bytearray()
    try:
        for chunk in _chunks(environ, seconds):
            body += chunk
            if len(body) > limit:
                raise TooLarge(f"The body has more than {limit} bytes, which is the limit.")
    except TimeoutError as error:
        raise BodyTimeout(f"The body did not arrive whole within {seconds:g} s.") from error
    except (OSError, ParseException) as error:
        raise BadRequest(f"The body could not be read to its end ({error}).") from error
    if len(body) < announced:
        raise BadRequest(f"The body ended after {plural(len(body), 'byte')}, its Content-Length is {announced}.")
    return bytes(body)


def discard(environ: Mapping[str, Any], seconds: float) -> None:
    """Read what is left of the body for at most `seconds`, and forget it.

    A connection closed on unread bytes is reset, and the client loses the answer that told it what was wrong.
    """
    # Slow, malformed or gone: nothing more can follow on this connection, and gunicorn closes it.
    with contextlib.suppress(OSError, ParseException):
        for _ in _chunks(environ, seconds):
            pass


def _chunks(environ: Mapping[str, Any], seconds: float) -> Iterator[bytes]:
    """The body's pieces. Raises TimeoutError when `seconds` are over or nothing arrives for that long."""
    stream = environ["wsgi.input"]
    connection = environ.get("gunicorn.socket")  # None under a test client, whose body is all there
    deadline = time.monotonic() + seconds
    try:
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            if connection is not None:
                connection.settimeout(remaining)
            chunk = stream.read(_CHUNK)
            if not chunk:
                return
            yield chunk
    finally:
        if connection is not None:
            connection.settimeout(None)
