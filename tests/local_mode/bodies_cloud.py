"""What the tests of the cloud's code run beside an SDK, in that SDK's environment: no pytest at the top."""

import contextlib
import io
import json
import os
from typing import Any


def calls(code: str, source: str, folder: str) -> list[tuple[str, dict[str, Any]]]:
    """Run code of SDK v2, which is from the file `source`, in `folder` against the server that stands where AWS would.

    What was sent to SageMaker: operation and JSON, in order, after botocore has held it against its service model. Of
    a request to an endpoint the JSON has its content type and the number of bytes.
    """
    import boto3

    sent: list[tuple[str, dict[str, Any]]] = []

    def note(model: Any, params: dict[str, Any], **_: Any) -> None:
        if model.name == "InvokeEndpoint":
            said = {"ContentType": params["headers"]["Content-Type"], "bytes": len(params["body"])}
        else:
            said = json.loads(params["body"])
        sent.append((model.name, said))

    boto3.setup_default_session()
    for service in ("sagemaker", "sagemaker-runtime"):
        boto3.DEFAULT_SESSION.events.register(f"before-call.{service}", note)
    os.chdir(folder)
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):
            exec(compile(code, source, "exec"), {})
    finally:
        print(log.getvalue())
    return sent
