"""Reads a request's body from WSGI, with limits on size and time, with or without a Content-Length."""

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.http.errors import ParseException

from serve.http.connection import MIN_RATE, TooMuchWork
from serve.http.errors import BadRequest, BodyTimeout, TooLarge
from serve.words import plural

_CHUNK = 1024 * 1024  # larger than gunicorn's own reads, because gunicorn copies what it buffers


def read(environ: Mapping[str, Any], limit: int, seconds: float, take: Callable[[int], None]) -> bytes:
    """Return the body, at most `limit` bytes. `take` is called with the size of each chunk and may raise an error.

    Raises TooLarge (before reading, if there is a Content-Length), BodyTimeout if the body does not arrive within
    `seconds` or arrives too slowly (see serve.http.connection), and BadRequest if it ends early or its chunks are
    malformed or tiny.
    """
    content_length = int(environ.get("CONTENT_LENGTH") or 0)
    if content_length > limit:
        raise TooLarge(f"The body has {content_length} bytes, and the limit is {limit}.")
    start = time.monotonic()  # before `expect` starts its clock, so that `passed` is at least as long as its timeout
    connection = environ.get("gunicorn.socket")  # None with a test client, which sends the whole body at once
    if connection is not None:
        connection.expect(seconds)
    body = io.BytesIO()  # getvalue does not copy
    received = 0
    try:
        while chunk := environ["wsgi.input"].read(_CHUNK):
            take(len(chunk))
            received += body.write(chunk)
            if received > limit:
                raise TooLarge(f"The body exceeds the limit of {limit} bytes.")
    except TimeoutError as error:
        passed = time.monotonic() - start
        if passed >= seconds:
            raise BodyTimeout(f"The body did not arrive within {seconds:g} s.") from error
        raise BodyTimeout(f"The body arrived at less than {MIN_RATE} bytes/s for {passed:.0f} s.") from error
    except TooMuchWork as error:
        raise BadRequest(f"The chunks of the body are too small; send chunks of {_CHUNK} bytes.") from error
    except (OSError, ParseException) as error:
        raise BadRequest(f"The body could not be read completely ({type(error).__name__}).") from error
    if received < content_length:
        raise BadRequest(
            f"The body ended after {plural(received, 'byte')}, but its Content-Length is {content_length}."
        )
    return body.getvalue()
