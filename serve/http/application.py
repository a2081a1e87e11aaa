"""The HTTP application: /ping, /invocations, /execution-parameters, /metrics, and JSON for every error."""

import json
import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from serve.engine.model import Model
from serve.http import body, headers
from serve.http.admission import Gate
from serve.http.errors import ServeError, Unavailable, document
from serve.http.media import media_type
from serve.http.room import Room, Share
from serve.settings import Settings
from serve.telemetry.observer import Observer
from serve.telemetry.trace import DECODE, ONLY_MODEL, RECEIVE, current, stage

log = logging.getLogger("serve")

MAX_PAYLOAD_MB = 100
"""Batch transform refuses a MaxPayloadInMB that exceeds this when multiplied by MaxConcurrentTransforms."""


def create_app(settings: Settings, model: Model, observer: Observer) -> Flask:
    """The application. It serves `model` whenever that is loaded, and starts nothing itself."""
    app = Flask("serve", static_folder=None)
    app.wsgi_app = observer.traced(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation does
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
        trace = current()
        trace.model = ONLY_MODEL
        engine = model.require_engine()
        headers.require_plain(request.headers.get("Content-Encoding"))
        with gate.entered(), observer.inside(trace), Share(room) as share:
            with stage(RECEIVE):
                data = body.read(request.environ, settings.max_body, settings.timeout, trace.counted(share.take))
            form = headers.choose_form(request.headers.get("Accept"), engine.forms(settings.batch))
            attributes = headers.custom_attributes(request.headers.get(headers.CUSTOM_ATTRIBUTES))
            with stage(DECODE):
                read = engine.read(data, media_type(request.headers.get("Content-Type")), attributes)
            # Written in the prediction's turn too, as a number for each pixel is much work.
            with observer.waiting(trace, engine.respond) as respond:
                content = gate.predict(settings.timeout, respond, read, form)
            unread = Share(room)
            unread.take(len(content))
        response = Response(content, content_type=form.media)
        response.call_on_close(unread.release)
        return response

    if metrics := observer.metrics:

        @app.get("/metrics")
        def page() -> Response:
            content, media = metrics.page()
            return Response(content, content_type=media)

    _answer_errors(app)
    return app


def _answer_errors(app: Flask) -> None:
    """Every error becomes the JSON of errors.document, and a reason of the request's trace."""

    @app.errorhandler(ServeError)
    def ours(error: ServeError) -> Response:
        response = _error(error.status, str(error), error.logged)
        if isinstance(error, Unavailable):
            current().unavailable = error.why
            response.headers["Retry-After"] = "1"
        return response

    @app.errorhandler(HTTPException)
    def flasks(error: HTTPException) -> Response:
        reason = _reason(error, app)
        response = _error(error.code or 500, reason, reason)
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        sentence = str(error) if isinstance(error, FloatingPointError) else "The server failed; its log says why."
        return _error(500, sentence, sentence)


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


def _error(status: int, reason: str, logged: str) -> Response:
    """The answer with a reason; `logged` is what the log may have of it."""
    current().reason = logged
    response = _json(document(status, reason))
    response.status_code = status
    return response


def _json(content: dict[str, object]) -> Response:
    return Response(json.dumps(content), content_type="application/json")
