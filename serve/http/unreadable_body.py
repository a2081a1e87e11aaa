"""Explains to a client why its body could not be read as an image."""

from collections.abc import Iterator
from contextlib import contextmanager

from serve.http.errors import BadRequest, from_body
from serve.http.log import printable
from serve.preprocess import FORMATS, UnreadableImage

_MAX_DETAIL = 300  # characters of a library's message
_MAX_QUOTE = 12  # characters of a body
_DAMAGED = "is damaged ("  # followed by a library's message, which may quote the body
_MIN_LENGTH = 500  # longer images almost always contain "\n" or "\r", because 1 byte in 128 is one of them
# The start of a JPEG, PNG, GIF and WebP in base64, and of a browser's data URL.
_BASE64 = (b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"UklGR", b"data:image/")


def unreadable(data: bytes, error: UnreadableImage) -> str:
    """Return a sentence that says what is wrong with `data` and, if possible, what to send instead.

    Quotes from the body are marked with serve.http.errors.from_body.
    """
    reason = str(error)
    if reason.startswith("is not an image"):
        problem = f"The body is not an image: it starts with {from_body(_quote_start(data))}"
        if is_base64_of_image(data):
            return f"{problem}; it looks like base64: send the raw bytes of the file."
        return f"{problem}; send the bytes of one {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file."
    no_line_feeds = len(data) > _MIN_LENGTH and b"\n" not in data and b"\r" not in data
    curl_hint = no_line_feeds and reason.startswith(("is truncated", "is damaged"))
    if reason.startswith(_DAMAGED):
        detail, _, rest = reason.removeprefix(_DAMAGED).rpartition(")")
        reason = f"{_DAMAGED}{from_body(printable(detail, _MAX_DETAIL))}){rest}"
    if curl_hint:
        reason += "; it has no line feeds, which curl --data removes: use curl --data-binary"
    return f"The image {reason}."


def is_base64_of_image(data: bytes) -> bool:
    """Return whether the bytes start like an image file in base64, possibly in quotes or in a data URL."""
    return data.lstrip(b"\"' \t\r\n").startswith(_BASE64)


@contextmanager
def unreadable_as_bad_request(data: bytes) -> Iterator[None]:
    """Turn an UnreadableImage into a BadRequest that explains the problem with `data`."""
    try:
        yield
    except UnreadableImage as error:
        raise BadRequest(unreadable(data, error)) from error


def _quote_start(data: bytes) -> str:
    """Return the first bytes as quoted text if they are ASCII, else in hexadecimal."""
    text = data[:_MAX_QUOTE].decode("ascii", "replace")
    if text.replace("\t", " ").replace("\r", " ").replace("\n", " ").isprintable() and "\ufffd" not in text:
        return repr(text)
    return f"the bytes {data[: _MAX_QUOTE // 2].hex(' ')}"
