"""Refused bodies: in which words their sender reads why."""

from collections.abc import Iterator
from contextlib import contextmanager

from serve.http.errors import BadRequest, from_body
from serve.http.log import printable
from serve.preprocess import FORMATS, UnreadableImage

_LONGEST = 300  # characters of a library's words
_SHOWN = 12  # characters of a body
_DAMAGED = "is damaged ("  # and in parentheses a library's words, which may quote the body
_BY_CHANCE = 500  # bytes of an image, of which 1 in 128 is a line feed or a carriage return
# How base64 of a JPEG, PNG, GIF and WebP begins, and a browser's data URL.
_BASE64 = (b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"UklGR", b"data:image/")


def unreadable(data: bytes, error: UnreadableImage) -> str:
    """The sentence for who sent `data` as an image: what is wrong with it, and where that can be told, what to send.

    What it quotes of the body is marked for serve.http.errors.
    """
    reason = str(error)
    if reason.startswith("is not an image"):
        begin = f"The body is not an image: it starts with {from_body(_beginning(data))}"
        if is_base64_of_image(data):
            return f"{begin}; it looks like base64: send the raw bytes of the file."
        return f"{begin}; send the bytes of one {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file."
    bare = len(data) > _BY_CHANCE and b"\n" not in data and b"\r" not in data
    hint = bare and reason.startswith(("is truncated", "is damaged"))
    if reason.startswith(_DAMAGED):
        detail, _, rest = reason.removeprefix(_DAMAGED).rpartition(")")
        reason = f"{_DAMAGED}{from_body(printable(detail, _LONGEST))}){rest}"
    if hint:
        reason += "; it has no line feeds, which curl --data takes out: use curl --data-binary"
    return f"The image {reason}."


def is_base64_of_image(data: bytes) -> bool:
    """Whether the bytes begin as an image file does in base64, in quotes or in a data URL too."""
    return data.lstrip(b"\"' \t\r\n").startswith(_BASE64)


@contextmanager
def explained(data: bytes) -> Iterator[None]:
    """Turn an UnreadableImage into a BadRequest for who sent `data`."""
    try:
        yield
    except UnreadableImage as error:
        raise BadRequest(unreadable(data, error)) from error


def _beginning(data: bytes) -> str:
    """The first bytes as text in quotes where they are ASCII, else in hexadecimal."""
    text = data[:_SHOWN].decode("ascii", "replace")
    if text.replace("\t", " ").replace("\r", " ").replace("\n", " ").isprintable() and "\ufffd" not in text:
        return repr(text)
    return f"the bytes {data[: _SHOWN // 2].hex(' ')}"
