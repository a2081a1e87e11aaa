"""A request to an endpoint on this machine, `POST /invocations`, without an SDK: importing one takes seconds."""

import contextlib
import http.client
import json

from local.errors import CommandFailed

PORT = 8080
# The server gives a body a minute to arrive, and the request as long again for its turn.
_SECONDS = 300


class NoEndpointError(CommandFailed):
    """Nothing answers on the port."""


class RefusedError(CommandFailed):
    """The endpoint's answer is an error. The message ends in the reason that it gave."""


def invoke(port: int, body: bytes, content_type: str, accept: str) -> bytes:
    """Send one request to the endpoint on `port` of this machine and return the body of its answer.

    Raises NoEndpointError when nothing answers, RefusedError when the status is not 2xx.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)) as connection:
        try:
            # A server that refuses a body need not read all of it, and answers all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", "/invocations", body, {"Content-Type": content_type, "Accept": accept})
            reply = connection.getresponse()
            answer = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoEndpointError(
                f"no endpoint answers on port {port} ({error}): name its --port, or start one with "
                "`python3 -m local deploy`"
            ) from None
    if reply.status >= 300:
        raise RefusedError(f"the endpoint answered {reply.status} {reply.reason}: {reason(answer)}")
    return answer


def reason(body: bytes) -> str:
    """The reason in an error's body: that of our server's JSON, "error" of another's, else the body's text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        said = json.loads(text)
        return str(said["reason"] if "reason" in said else said["error"])
    except (ValueError, TypeError, KeyError):
        return text
