"""Runs moto's server in place of AWS and records the requests to SageMaker.

`python -m tests.moto_server`, in .venvs/dev, prints its address and serves until it is killed. tests.aws starts it.
It adds what SDK v3 needs and moto 5 lacks: IAM's SimulatePrincipalPolicy allows everything, and SageMaker's responses
omit empty members, such as the VpcConfig {} that AWS never sends and SDK v3 rejects.
"""

import io
import json
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

_ALLOWED = (
    '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
    "<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{}</EvaluationResults>"
    "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
)
_DECISION = "<member><EvalActionName>{}</EvalActionName><EvalDecision>allowed</EvalDecision></member>"
_moto = DomainDispatcherApplication(create_backend_app)
_sent: list[tuple[str, dict[str, Any]]] = []


@Request.application
def application(request: Request) -> Response:
    """Respond like AWS. /sent returns the requests to SageMaker since its last call."""
    if request.path == "/sent":
        document = json.dumps(_sent)
        _sent.clear()
        return Response(document, content_type="application/json")
    body = request.get_data()
    form = parse_qs(body.decode("latin-1")) if b"Action=" in body else {}
    if form.get("Action") == ["SimulatePrincipalPolicy"]:
        actions = [values[0] for name, values in form.items() if name.startswith("ActionNames.")]
        return Response(_ALLOWED.format("".join(map(_DECISION.format, actions))), content_type="text/xml")
    response = Response.from_app(_moto, {**request.environ, "wsgi.input": io.BytesIO(body)}, buffered=True)
    service, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
    if service == "SageMaker":
        _sent.append((operation, json.loads(body)))
        if response.status_code == 200 and response.get_data():
            members = json.loads(response.get_data())
            response.set_data(json.dumps({name: value for name, value in members.items() if value != {}}))
    elif request.path.endswith("/invocations"):
        _sent.append(("InvokeEndpoint", {"ContentType": request.content_type, "bytes": len(body)}))
    return response


class Silent(WSGIRequestHandler):
    """Handles requests without logging them."""

    def log(self, *args: object) -> None:
        """Do nothing."""


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Silent)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
