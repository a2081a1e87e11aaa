"""Runs moto's server in a process of .venvs/dev. It stands in for AWS in the tests of any environment."""

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.environments import REPOSITORY, python

ACCOUNT = "123456789012"  # moto's
REGION = "us-east-1"  # of tests.environments.use_home

Sent = list[tuple[str, dict[str, Any]]]
"""The requests that SageMaker received, in order: operation and JSON, or content type and size for InvokeEndpoint."""


def request(sent: Sent, operation: str) -> dict[str, Any]:
    """Return the only request for this operation."""
    (content,) = [content for name, content in sent if name == operation]
    return content


def operations(sent: Sent) -> list[str]:
    """Return the requested operations without the Describe calls."""
    return [operation for operation, _ in sent if not operation.startswith("Describe")]


class Aws:
    """A running server."""

    def __init__(self, address: str) -> None:
        self.address = address

    def reset(self) -> None:
        """Delete all resources and recorded requests."""
        self._request("/moto-api/reset", b"")
        self.sent()

    def reply(self, body: str) -> None:
        """Make `body` the response of the next endpoint that is invoked, because moto runs no model."""
        replies = {"account_id": ACCOUNT, "region": REGION, "results": [{"Body": body}]}
        self._request("/moto-api/static/sagemaker/endpoint-results", json.dumps(replies).encode())

    def sent(self) -> Sent:
        """Return the requests to SageMaker since the last call."""
        return [(operation, content) for operation, content in json.loads(self._request("/sent"))]

    def _request(self, path: str, body: bytes | None = None) -> bytes:
        """POST the body, or GET without one, and return the response."""
        http_request = urllib.request.Request(self.address + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(http_request, timeout=30) as response:
            return response.read()


@contextlib.contextmanager
def aws() -> Iterator[Aws]:
    """Run an empty server while the block runs."""
    command = [python("dev"), "-m", "tests.moto_server"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "the server ended before it listened"
            yield Aws(address)
        finally:
            process.kill()
