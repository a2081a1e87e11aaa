"""The routes of a multi-model endpoint, with which SageMaker loads, lists, invokes and unloads models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from serve.engine.model import Model
from serve.engine.models import Models
from serve.http import body
from serve.http.errors import BadRequest
from serve.telemetry.trace import current

PAGE = 100
"""Default number of models per page."""
_MAX_PAGE = 1000
_MAX_REQUEST = 64 * 1024
_MAX_TEXT = 1024
_SECONDS = 10


def add_routes(app: Flask, models: Models, invoke: Callable[[str], Response]) -> None:
    """Add the routes. `invoke` handles a request to the model with the given name."""

    @app.get("/ping")
    def ping() -> Response:
        return Response(content_type="application/json")  # even without a model

    @app.get("/models")
    def page() -> dict[str, Any]:
        listed, more = models.page(request.args.get("next_page_token", ""), _limit(request.args.get("limit")))
        token = {"nextPageToken": listed[-1].name} if more and listed else {}
        return {"models": [_document(model) for model in listed], **token}

    @app.post("/models")
    def load() -> dict[str, str]:
        count = current().count_received(lambda _: None)
        data = body.read(request.environ, _MAX_REQUEST, _SECONDS, count)
        return _document(models.load(*_parse_load(data)))

    @app.get("/models/<path:name>")
    def describe(name: str) -> dict[str, str]:
        model = models.get(name)
        model.require_ready()
        return _document(model)

    @app.delete("/models/<path:name>")
    def unload(name: str) -> dict[str, str]:
        return _document(models.unload(name))

    app.add_url_rule("/models/<path:name>/invoke", view_func=invoke, endpoint="invoke", methods=["POST"])


def _document(model: Model) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": str(model.folder)}


def _parse_load(data: bytes) -> tuple[str, Path]:
    """Return the name and the folder in a request to load a model. Raises BadRequest."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest('The body is not JSON; send {"model_name": "...", "url": "..."}.') from error
    if not isinstance(document, dict):
        raise BadRequest('The body is not a JSON object; send {"model_name": "...", "url": "..."}.')
    return _text(document, "model_name"), Path(_text(document, "url"))


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value or "\0" in value or len(value) > _MAX_TEXT:
        raise BadRequest(f"{key} must be a string of 1 to {_MAX_TEXT} characters.")
    return value


def _limit(text: str | None) -> int:
    """Return the maximum number of models on a page. Raises BadRequest."""
    if not text:
        return PAGE
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise BadRequest(f"limit is {text[:20]!r}; it must be a whole number, 1 or more.")
    return min(int(text), _MAX_PAGE)
