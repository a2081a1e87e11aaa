"""The HTTP application: /ping, /invocations, /execution-parameters, and JSON for every error."""

import json
import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from serve.engine.model import Model
from serve.http import body, headers
from serve.http.admission import Gate
from serve.http.errors import ServeError, Unavailable, document
from serve.http.media import media_type
from serve.http.refusals import Refusals
from serve.http.room import Room, Share
from serve.settings import Settings

log = logging.getLogger("serve")

ROUTES = "/ping (GET), /invocations (POST) and /execution-parameters (GET)"

MAX_PAYLOAD_MB = 100
"""Batch transform refuses a MaxPayloadInMB that exceeds this when multiplied by MaxConcurrentTransforms."""


def create_app(settings: Settings, model: Model) -> Flask:
    """The application. It serves `model` whenever that is loaded, and starts nothing itself."""
    app = Flask("serve", static_folder=None)
    gate, room = Gate(settings.admitted, settings.queue), Room(settings.room)

    @app.get("/ping")
    def ping() -> Response:
        model.require_ready()
        return Response(content_type="application/json")

    @app.get("/execution-parameters")
    def execution_parameters() -> Response:
        parameters = {
            "MaxConcurrentTransforms": settings.admitted,
            "BatchStrategy": settings.batch_strategy,
            "MaxPayloadInMB": max(1, MAX_PAYLOAD_MB // settings.admitted),
        }
        return _json(parameters)

    @app.post("/invocations")
    def invocations() -> Response:
        engine = model.require_engine()
        headers.require_plain(request.headers.get("Content-Encoding"))
        with gate.entered(), Share(room) as share:
            data = body.read(request.environ, settings.max_body, settings.timeout, share.take)
            form = headers.choose_form(request.headers.get("Accept"), engine.forms(settings.batch))
            attributes = headers.custom_attributes(request.headers.get(headers.CUSTOM_ATTRIBUTES))
            read = engine.read(data, media_type(request.headers.get("Content-Type")), attributes)
            # Written in the prediction's turn too, as a number for each pixel is much work.
            content = gate.predict(settings.timeout, engine.respond, read, form)
            unread = Share(room)
            unread.take(len(content))
        response = Response(content, content_type=form.media)
        response.call_on_close(unread.release)
        return response

    _answer_errors(app)
    return app


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
        reason = _reason(error)
        response = refuse(error.code or 500, reason, reason)
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        sentence = str(error) if isinstance(error, FloatingPointError) else "The server failed; its log says why."
        return _error(500, sentence)


def _reason(error: HTTPException) -> str:
    if error.code == 404:
        return f"There is nothing at {request.path[:100]!r}. There is {ROUTES}."
    if error.code == 405:
        return f"{request.path} does not take {request.method}. There is {ROUTES}."
    return error.description or error.name


def _error(status: int, reason: str) -> Response:
    response = _json(document(status, reason))
    response.status_code = status
    return response


def _json(content: dict[str, object]) -> Response:
    return Response(json.dumps(content), content_type="application/json")
