"""Sends requests to a server for a script's model."""

import json
from typing import Any

from tests.server import Server


def ready(server: Server) -> Server:
    """Wait until the model is converted and loaded."""
    server.wait_for("/ping returns 200", 600)
    return server


def predict(server: Server, document: Any) -> tuple[int, Any]:
    """Send a JSON document and return the status and the JSON of the response."""
    body = json.dumps(document).encode()
    status, _, content = server.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    return status, json.loads(content)
