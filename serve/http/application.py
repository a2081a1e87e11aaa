"""The HTTP application: the routes of one model or of many, and JSON for every error."""

import json
import logging
from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from serve.engine.models import ONLY, Models
from serve.http import body, headers, multi_model
from serve.http.admission import Gate
from serve.http.errors import ServeError, Unavailable, document
from serve.http.media import media_type
from serve.http.refusals import Refusals
from serve.http.room import Room, Share
from serve.settings import Settings

log = logging.getLogger("serve")

MAX_PAYLOAD_MB = 100
"""Batch transform refuses a MaxPayloadInMB that exceeds this when multiplied by MaxConcurrentTransforms."""


def create_app(settings: Settings, models: Models) -> Flask:
    """The application. It serves `models` whenever they are loaded, and starts nothing itself."""
    app = Flask("serve", static_folder=None)
    gate = Gate(settings.admitted, settings.queue, shared=settings.multi_model)
    room = Room(settings.room)

    def invoke(name: str) -> Response:
        """Answer a request to the model of that name."""
        with models.get(name).used() as engine:
            headers.require_plain(request.headers.get("Content-Encoding"))
            with gate.entered(name), Share(room) as share:
                data = body.read(request.environ, settings.max_body, settings.timeout, share.take)
                form = headers.choose_form(request.headers.get("Accept"), engine.forms(settings.batch))
                attributes = headers.custom_attributes(request.headers.get(headers.CUSTOM_ATTRIBUTES))
                read = engine.read(data, media_type(request.headers.get("Content-Type")), attributes)
                # Written in the prediction's turn too, as a number for each pixel is much work.
                content = gate.predict(name, settings.timeout, engine.respond, read, form)
                unread = Share(room)
                unread.take(len(content))
        response = Response(content, content_type=form.media)
        response.call_on_close(unread.release)
        return response

    if settings.multi_model:
        multi_model.add_routes(app, models, invoke)
    else:
        _add_routes_of_one(app, settings, models, invoke)
    _answer_errors(app)
    return app


def _add_routes_of_one(app: Flask, settings: Settings, models: Models, invoke: Callable[[str], Response]) -> None:
    @app.get("/ping")
    def ping() -> Response:
        models.get(ONLY).require_ready()
        return Response(content_type="application/json")

    @app.post("/invocations")
    def invocations() -> Response:
        return invoke(ONLY)

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, object]:
        return {
            "MaxConcurrentTransforms": settings.admitted,
            "BatchStrategy": settings.batch_strategy,
            "MaxPayloadInMB": max(1, MAX_PAYLOAD_MB // settings.admitted),
        }


def _answer_errors(app: Flask) -> None:
    """Every error becomes the JSON of errors.document and a line in the log."""
    refusals = Refusals()

    def refuse(status: int, reason: str, logged: str) -> Response:
        refusals.log(status, request.method, request.path, logged)
        return _error(status, reason)

    @app.errorhandler(ServeError)
    def ours(error: ServeError) -> Response:
        response = refuse(error.status, str(error), error.logged)
        if isinstance(error, Unavailable):
            response.headers["Retry-After"] = "1"
        return response

    @app.errorhandler(HTTPException)
    def flasks(error: HTTPException) -> Response:
        reason = _reason(error, app)
        response = refuse(error.code or 500, reason, reason)
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        sentence = str(error) if isinstance(error, FloatingPointError) else "The server failed; its log says why."
        return _error(500, sentence)


def _reason(error: HTTPException, app: Flask) -> str:
    if error.code == 404:
        return f"There is nothing at {request.path[:100]!r}. There is {_routes(app)}."
    if error.code == 405:
        return f"{request.path} does not take {request.method}. There is {_routes(app)}."
    return error.description or error.name


def _routes(app: Flask) -> str:
    """The routes that there are: /ping (GET), /invocations (POST) and /execution-parameters (GET)."""
    methods: dict[str, list[str]] = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<path:", "{").replace(">", "}")
        methods.setdefault(path, []).extend(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
    *most, last = (f"{path} ({', '.join(taken)})" for path, taken in methods.items())
    return f"{', '.join(most)} and {last}"


def _error(status: int, reason: str) -> Response:
    response = Response(json.dumps(document(status, reason)), content_type="application/json")
    response.status_code = status
    return response
