"""The HTTP application: the routes of one model or of many, /metrics, and JSON for every error."""

import json
import logging
from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from serve.engine.models import ONLY, Models
from serve.http import body, headers, multi_model
from serve.http.admission import Gate
from serve.http.byte_budget import ByteBudget, Reservation
from serve.http.errors import ServeError, Unavailable, document
from serve.http.media import media_type
from serve.settings import Settings
from serve.telemetry.observer import Observer
from serve.telemetry.trace import DECODE, RECEIVE, current, stage

log = logging.getLogger("serve")

MAX_PAYLOAD_MB = 100
"""Batch transform refuses a MaxPayloadInMB that exceeds this when multiplied by MaxConcurrentTransforms."""


def create_app(settings: Settings, models: Models, observer: Observer) -> Flask:
    """The application. It serves `models` whenever they are loaded, and starts nothing itself."""
    app = Flask("serve", static_folder=None)
    app.wsgi_app = observer.traced(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation does
    gate = Gate(settings.admitted, settings.queue, shared=settings.multi_model)
    room = ByteBudget(settings.body_memory)

    def invoke(name: str) -> Response:
        """Answer a request to the model of that name."""
        model, trace = models.get(name), current()
        trace.model = name
        with model.used() as engine:
            headers.require_plain(request.headers.get("Content-Encoding"))
            with gate.entered(name), observer.inside(trace), Reservation(room) as share:
                with stage(RECEIVE):
                    data = body.read(request.environ, settings.max_body, settings.timeout, trace.counted(share.take))
                form = headers.choose_form(request.headers.get("Accept"), engine.forms(settings.batch))
                attributes = headers.custom_attributes(request.headers.get(headers.CUSTOM_ATTRIBUTES))
                with stage(DECODE):
                    read = engine.read(data, media_type(request.headers.get("Content-Type")), attributes)
                # Written in the prediction's turn too, as a number for each pixel is much work.
                with observer.waiting(trace, engine.respond) as respond:
                    content = gate.predict(name, settings.timeout, respond, read, form)
                unread = Reservation(room)
                unread.take(len(content))
        response = Response(content, content_type=form.media)
        response.call_on_close(unread.release)
        return response

    if settings.multi_model:
        multi_model.add_routes(app, models, invoke)
    else:
        _add_routes_of_one(app, settings, models, invoke)
    if metrics := observer.metrics:

        @app.get("/metrics")
        def scrape() -> Response:
            content, media = metrics.page()
            return Response(content, content_type=media)

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
    response = Response(json.dumps(document(status, reason)), content_type="application/json")
    response.status_code = status
    return response
