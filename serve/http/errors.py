"""Errors with their HTTP status, and the JSON document of an error response."""

import re

_BEGIN, _END = "\ue000", "\ue001"  # private-use characters, which our own messages never contain
_MARKED = re.compile(f"{_BEGIN}.*?{_END}", re.DOTALL)
_MARKS = str.maketrans("", "", _BEGIN + _END)


def from_body(text: str) -> str:
    """Mark text that a reason quotes from a request's body, so that it is in the response but not in the log."""
    return f"{_BEGIN}{text.translate(_MARKS)}{_END}"


def document(status: int, reason: str) -> dict[str, object]:
    """Return the JSON document of an error. TensorFlow Serving clients expect the reason under "error"."""
    return {"status": status, "reason": reason, "error": reason}


class ServeError(Exception):
    """An error response with `status`. The message is the reason that the client gets."""

    status = 500

    def __str__(self) -> str:
        return super().__str__().translate(_MARKS)

    @property
    def logged(self) -> str:
        """The reason without the text that it quotes from the body."""
        return _MARKED.sub("(withheld)", super().__str__())


class BadRequest(ServeError):
    """The request is invalid: for example, its body is not a readable image or a custom attribute has a bad value."""

    status = 400


class NotLoaded(ServeError):
    """No model with this name is loaded."""

    status = 404


class NotAcceptable(ServeError):
    """The Accept header allows none of the response formats."""

    status = 406


class BodyTimeout(ServeError):
    """The body did not arrive in time, or arrived too slowly."""

    status = 408


class AlreadyLoaded(ServeError):
    """A model with this name is already loaded."""

    status = 409


class TooLarge(ServeError):
    """The body, the response, or the work for the request exceeds a limit."""

    status = 413


class UnsupportedMediaType(ServeError):
    """The Content-Type is not that of an image, or the Content-Encoding is not identity."""

    status = 415


class Unavailable(ServeError):
    """The model is still loading, or the server is busy with other requests.

    `why` is the reason's label in the metrics.
    """

    status = 503

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class OutOfMemory(ServeError):
    """There is no memory for another model. SageMaker unloads other models and tries again."""

    status = 507
