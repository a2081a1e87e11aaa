"""The routes of a multi-model endpoint, by which SageMaker loads, lists, calls and unloads models."""

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
"""Models of a page where the request does not say how many."""
_MOST = 1000
_LONGEST_REQUEST = 64 * 1024
_LONGEST_TEXT = 1024
_SECONDS = 10


def add_routes(app: Flask, models: Models, invoke: Callable[[str], Response]) -> None:
    """Add the routes. `invoke` answers a request to the model of a name."""

    @app.get("/ping")
    def ping() -> Response:
        return Response(content_type="application/json")  # without any model too

    @app.get("/models")
    def page() -> dict[str, Any]:
        found, more = models.page(request.args.get("next_page_token", ""), _limit(request.args.get("limit")))
        token = {"nextPageToken": found[-1].name} if more and found else {}
        return {"models": [_described(model) for model in found], **token}

    @app.post("/models")
    def load() -> dict[str, str]:
        count = current().counted(lambda _: None)
        return _described(models.load(*_asked(body.read(request.environ, _LONGEST_REQUEST, _SECONDS, count))))

    @app.get("/models/<path:name>")
    def describe(name: str) -> dict[str, str]:
        model = models.get(name)
        model.require_ready()
        return _described(model)

    @app.delete("/models/<path:name>")
    def unload(name: str) -> dict[str, str]:
        return _described(models.unload(name))

    app.add_url_rule("/models/<path:name>/invoke", view_func=invoke, endpoint="invoke", methods=["POST"])


def _described(model: Model) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": str(model.folder)}


def _asked(data: bytes) -> tuple[str, Path]:
    """The name and the folder that a request to load a model gives. Raises BadRequest."""
    try:
        asked = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest('The body is not JSON; send {"model_name": "...", "url": "..."}.') from error
    if not isinstance(asked, dict):
        raise BadRequest('The body is not a JSON object; send {"model_name": "...", "url": "..."}.')
    return _text(asked, "model_name"), Path(_text(asked, "url"))


def _text(asked: dict[str, Any], key: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str) or not value or "\0" in value or len(value) > _LONGEST_TEXT:
        raise BadRequest(f"{key} must be a text of 1 to {_LONGEST_TEXT} characters.")
    return value


def _limit(text: str | None) -> int:
    """How many models a page is to have. Raises BadRequest."""
    if not text:
        return PAGE
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise BadRequest(f"limit is {text[:20]!r}, it must be a whole number of 1 or more.")
    return min(int(text), _MOST)
