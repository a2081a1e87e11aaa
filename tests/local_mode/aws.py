"""What AWS is sent, and moto's server, which stands where AWS would, with what SDK v3 wants and moto 5 does not have.

IAM's SimulatePrincipalPolicy, which moto answers with an error, allows everything; and SageMaker's answers lose their
empty members, as a VpcConfig {} that AWS never sends and SDK v3 refuses.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import requests
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

Sent = list[tuple[str, dict[str, Any]]]
"""What SageMaker was sent: operation and JSON, in order."""

_ALLOWED = (
    '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
    "<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{}</EvaluationResults>"
    "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
)
_DECISION = "<member><EvalActionName>{}</EvalActionName><EvalDecision>allowed</EvalDecision></member>"


def request(sent: Sent, operation: str) -> dict[str, Any]:
    """The one request of that operation."""
    (found,) = [said for name, said in sent if name == operation]
    return found


class _Silent(WSGIRequestHandler):
    def log(self, *args: object) -> None:
        """Say nothing of a request."""


class _Aws:
    def __init__(self, sent: Sent) -> None:
        self._moto, self._sent = DomainDispatcherApplication(create_backend_app), sent

    @Request.application
    def __call__(self, request: Request) -> Response:
        body = request.get_data()
        form = parse_qs(body.decode("latin-1")) if b"Action=" in body else {}
        if form.get("Action") == ["SimulatePrincipalPolicy"]:
            actions = [values[0] for name, values in form.items() if name.startswith("ActionNames.")]
            return Response(_ALLOWED.format("".join(map(_DECISION.format, actions))), content_type="text/xml")
        response = Response.from_app(self._moto, {**request.environ, "wsgi.input": io.BytesIO(body)}, buffered=True)
        service, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        if service == "SageMaker":
            self._sent.append((operation, json.loads(body)))
            if response.status_code == 200 and response.get_data():
                said = json.loads(response.get_data())
                response.set_data(json.dumps({name: value for name, value in said.items() if value != {}}))
        elif request.path.endswith("/invocations"):
            self._sent.append(("InvokeEndpoint", {"ContentType": request.content_type, "bytes": len(body)}))
        return response


@contextmanager
def aws() -> Iterator[tuple[str, Sent]]:
    """The server's address, and what SageMaker is sent: operation and JSON, in order."""
    sent: Sent = []
    server = make_server("127.0.0.1", 0, _Aws(sent), threaded=True, request_handler=_Silent)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        requests.post(f"{address}/moto-api/reset", timeout=10).raise_for_status()  # what another module left there
        yield address, sent
    finally:
        server.shutdown()
        thread.join()
