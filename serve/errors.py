"""Errors that carry their HTTP status; one handler in the app turns any of them into JSON."""


def document(status: int, reason: str) -> dict[str, object]:
    """The JSON body of an error. Clients of TensorFlow Serving look for the reason under "error"."""
    return {"status": status, "reason": reason, "error": reason}


class ServeError(Exception):
    """Ends a request with `status`; the message is the reason that the caller reads."""

    status = 500


class BadRequest(ServeError):
    """The body is no readable image or did not arrive whole, or a custom attribute has a bad value."""

    status = 400


class NotAcceptable(ServeError):
    """No form of the response is one that the Accept header allows."""

    status = 406


class BodyTimeout(ServeError):
    """The body stopped arriving."""

    status = 408


class TooLarge(ServeError):
    """The body is larger than the limit, or what is asked for would be."""

    status = 413


class UnsupportedMediaType(ServeError):
    """The Content-Type says that the body is no image."""

    status = 415


class Unavailable(ServeError):
    """Not now: the model is being loaded, or as many requests as allowed are being answered."""

    status = 503
