"""Sends `POST /invocations` to an endpoint on this machine, without an SDK, because importing one takes seconds."""

import contextlib
import http.client
import json

from local.errors import CommandFailed

PORT = 8080
# The server waits up to a minute for the body, and the request waits up to another minute in the queue.
_TIMEOUT_SECONDS = 300


class NoEndpointError(CommandFailed):
    """No endpoint responds on the port."""


class EndpointError(CommandFailed):
    """The endpoint returned an error. The message ends with the endpoint's reason."""


def invoke(port: int, body: bytes, content_type: str, accept: str) -> bytes:
    """Send one request to the endpoint on `port` of this machine and return the body of its response.

    Raises NoEndpointError if there is no response, EndpointError if its status is not 2xx.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)) as connection:
        try:
            # A server that rejects a body may respond without reading all of it.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", "/invocations", body, {"Content-Type": content_type, "Accept": accept})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoEndpointError(
                f"no endpoint on port {port} ({error}): give the right --port, or start an endpoint with "
                "`python3 -m local deploy`"
            ) from None
    if response.status >= 300:
        raise EndpointError(f"the endpoint returned {response.status} {response.reason}: {reason(content)}")
    return content


def reason(body: bytes) -> str:
    """Return the reason in an error's body: "reason" or "error" of a JSON object, else the text unless it is HTML."""
    text = body.decode("utf-8", "replace").strip()
    try:
        error = json.loads(text)
        return str(error["reason"] if "reason" in error else error["error"])
    except (ValueError, TypeError, KeyError):
        return "an HTML page: another program may use the port" if text.startswith("<") else text
