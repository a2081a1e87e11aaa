"""moto's server, which stands where AWS would, in a process of .venvs/dev, for tests of any environment."""

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.environments import REPOSITORY, python

ACCOUNT = "123456789012"  # moto's
REGION = "us-east-1"  # of tests.environments.live_in

Sent = list[tuple[str, dict[str, Any]]]
"""What SageMaker was sent: operation and JSON, in order. Of InvokeEndpoint: content type and number of bytes."""


def request(sent: Sent, operation: str) -> dict[str, Any]:
    """The one request of that operation."""
    (found,) = [content for name, content in sent if name == operation]
    return found


def operations(sent: Sent) -> list[str]:
    """What was asked for, but for how things stand."""
    return [operation for operation, _ in sent if not operation.startswith("Describe")]


class Aws:
    """A running server."""

    def __init__(self, address: str) -> None:
        self.address = address

    def reset(self) -> None:
        """Forget everything that was made and sent."""
        self._ask("/moto-api/reset", b"")
        self.sent()

    def reply(self, body: str) -> None:
        """Make `body` the answer of the endpoint that is asked first; moto knows no model."""
        replies = {"account_id": ACCOUNT, "region": REGION, "results": [{"Body": body}]}
        self._ask("/moto-api/static/sagemaker/endpoint-results", json.dumps(replies).encode())

    def sent(self) -> Sent:
        """What SageMaker was sent since the last call."""
        return [(operation, content) for operation, content in json.loads(self._ask("/sent"))]

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        """The answer to a POST of the body, or to a GET."""
        asked = urllib.request.Request(self.address + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=30) as response:
            return response.read()


@contextlib.contextmanager
def aws() -> Iterator[Aws]:
    """A server with nothing in it, while the block runs."""
    command = [python("dev"), "-m", "tests.moto_server"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "the server ended before it listened"
            yield Aws(address)
        finally:
            process.kill()
