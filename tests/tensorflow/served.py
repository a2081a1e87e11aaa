"""Send requests to a server of a script's model."""

import json
from typing import Any

from tests.server import Server


def ready(server: Server) -> Server:
    """Wait until the model is loaded, and converted before that."""
    server.wait_for("/ping answers 200", 600)
    return server


def ask(server: Server, document: Any) -> tuple[int, Any]:
    """Status and document of the answer to JSON."""
    body = json.dumps(document).encode()
    status, _, answer = server.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    return status, json.loads(answer)
