"""Errors that carry their HTTP status, and the JSON that every one of them becomes."""

import re

_BEGIN, _END = "\ue000", "\ue001"  # for private use: no sentence of ours has them
_MARKED = re.compile(f"{_BEGIN}.*?{_END}", re.DOTALL)
_MARKS = str.maketrans("", "", _BEGIN + _END)


def from_body(text: str) -> str:
    """Mark what a reason quotes of a request's body: its sender reads it, the log does not hold it."""
    return f"{_BEGIN}{text.translate(_MARKS)}{_END}"


def document(status: int, reason: str) -> dict[str, object]:
    """The JSON body of an error. Clients of TensorFlow Serving look for the reason under "error"."""
    return {"status": status, "reason": reason, "error": reason}


class ServeError(Exception):
    """Ends a request with `status`; the message is the reason that the caller reads."""

    status = 500

    def __str__(self) -> str:
        return super().__str__().translate(_MARKS)

    @property
    def logged(self) -> str:
        """The reason without what it quotes of the body."""
        return _MARKED.sub("(withheld)", super().__str__())


class BadRequest(ServeError):
    """The body is not a readable image or did not arrive whole, or a custom attribute has a bad value."""

    status = 400


class NotLoaded(ServeError):
    """No model of that name is loaded."""

    status = 404


class NotAcceptable(ServeError):
    """No form of the response is one that the Accept header allows."""

    status = 406


class BodyTimeout(ServeError):
    """The body stopped arriving."""

    status = 408


class AlreadyLoaded(ServeError):
    """A model of that name is loaded already."""

    status = 409


class TooLarge(ServeError):
    """The body is larger than the limit, or what is asked for would be."""

    status = 413


class UnsupportedMediaType(ServeError):
    """The Content-Type says that the body is not an image, or the Content-Encoding that it is compressed."""

    status = 415


class Unavailable(ServeError):
    """Not now: the model is being loaded, or as many requests as allowed are being answered.

    `why` is the word for the reason in metrics.
    """

    status = 503

    def __init__(self, sentence: str, why: str) -> None:
        super().__init__(sentence)
        self.why = why


class OutOfMemory(ServeError):
    """There is no memory for another model: the platform unloads others and tries again."""

    status = 507
