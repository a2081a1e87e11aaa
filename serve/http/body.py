"""Reading a request's body from WSGI: whole, within a size and a time, with or without a Content-Length."""

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.http.errors import ParseException

from serve.http.connection import LEAST_RATE, TooMuchWork
from serve.http.errors import BadRequest, BodyTimeout, TooLarge
from serve.words import plural

_CHUNK = 1024 * 1024  # as many as gunicorn reads ahead: it copies what it keeps


def read(environ: Mapping[str, Any], limit: int, seconds: float, take: Callable[[int], None]) -> bytes:
    """The body, at most `limit` bytes; `take` is called with the number of bytes that arrive, and may raise.

    Raises TooLarge (before reading where the Content-Length tells), BodyTimeout when it has not arrived after
    `seconds` or arrives too slowly (see serve.http.connection), BadRequest when it ends early, or when its chunks are
    malformed or tiny.
    """
    announced = int(environ.get("CONTENT_LENGTH") or 0)
    if announced > limit:
        raise TooLarge(f"The body has {announced} bytes, the limit is {limit}.")
    begun = time.monotonic()  # no later than the connection's own, so that what is late by that one is late by this one
    connection = environ.get("gunicorn.socket")  # None under a test client, whose body is all there
    if connection is not None:
        connection.expect(seconds)
    body = io.BytesIO()  # whose value can be had without another copy
    arrived = 0
    try:
        while chunk := environ["wsgi.input"].read(_CHUNK):
            take(len(chunk))
            arrived += body.write(chunk)
            if arrived > limit:
                raise TooLarge(f"The body has more than {limit} bytes, which is the limit.")
    except TimeoutError as error:
        passed = time.monotonic() - begun
        if passed >= seconds:
            raise BodyTimeout(f"The body did not arrive whole within {seconds:g} s.") from error
        raise BodyTimeout(f"The body arrived at less than {LEAST_RATE} bytes/s for {passed:.0f} s.") from error
    except TooMuchWork as error:
        raise BadRequest(f"The body comes in chunks that are too small; send some of {_CHUNK} bytes.") from error
    except (OSError, ParseException) as error:
        raise BadRequest(f"The body could not be read to its end ({type(error).__name__}).") from error
    if arrived < announced:
        raise BadRequest(f"The body ended after {plural(arrived, 'byte')}, its Content-Length is {announced}.")
    return body.getvalue()
