"""The Flask application: routes for a single model or for many, /metrics, and JSON errors."""

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
"""Batch transform limits the product of MaxPayloadInMB and MaxConcurrentTransforms to this."""


def create_app(settings: Settings, models: Models, observer: Observer) -> Flask:
    """Create the application. It serves `models` as soon as they are loaded, but does not load them."""
    app = Flask("serve", static_folder=None)
    app.wsgi_app = observer.trace_requests(app.wsgi_app)  # type: ignore[method-assign]  # as in Flask's documentation
    gate = Gate(settings.admitted, settings.queue, shared=settings.multi_model)
    budget = ByteBudget(settings.body_memory)

    def invoke(name: str) -> Response:
        """Handle a request to the model `name`."""
        model, trace = models.get(name), current()
        trace.model = name
        with model.used() as engine:
            headers.require_plain(request.headers.get("Content-Encoding"))
            with gate.admit(name), observer.in_progress(trace), Reservation(budget) as request_bytes:
                with stage(RECEIVE):
                    take = trace.count_received(request_bytes.take)
                    data = body.read(request.environ, settings.max_body, settings.timeout, take)
                form = headers.choose_form(request.headers.get("Accept"), engine.forms(settings.batch))
                attributes = headers.custom_attributes(request.headers.get(headers.CUSTOM_ATTRIBUTES))
                with stage(DECODE):
                    read = engine.read(data, media_type(request.headers.get("Content-Type")), attributes)
                # Encoding is part of the prediction's turn, because encoding a number for each pixel is a lot of work.
                with observer.waiting(trace, engine.respond) as respond:
                    content = gate.predict(name, settings.timeout, respond, read, form)
                response_bytes = Reservation(budget)
                response_bytes.take(len(content))
        response = Response(content, content_type=form.media)
        response.call_on_close(response_bytes.release)
        return response

    if settings.multi_model:
        multi_model.add_routes(app, models, invoke)
    else:
        _add_single_model_routes(app, settings, models, invoke)
    if metrics := observer.metrics:

        @app.get("/metrics")
        def scrape() -> Response:
            content, media = metrics.page()
            return Response(content, content_type=media)

    _add_error_handlers(app)
    return app


def _add_single_model_routes(app: Flask, settings: Settings, models: Models, invoke: Callable[[str], Response]) -> None:
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


def _add_error_handlers(app: Flask) -> None:
    """Turn every error into the JSON of errors.document, and record its reason in the request's trace."""

    @app.errorhandler(ServeError)
    def serve_error(error: ServeError) -> Response:
        response = _error(error.status, str(error), error.logged)
        if isinstance(error, Unavailable):
            current().unavailable = error.why
            response.headers["Retry-After"] = "1"
        return response

    @app.errorhandler(HTTPException)
    def http_exception(error: HTTPException) -> Response:
        reason = _reason(error, app)
        response = _error(error.code or 500, reason, reason)
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        reason = str(error) if isinstance(error, FloatingPointError) else "The server failed; see its log."
        return _error(500, reason, reason)


def _reason(error: HTTPException, app: Flask) -> str:
    if error.code == 404:
        return f"{request.path[:100]!r} does not exist. The routes are {_routes(app)}."
    if error.code == 405:
        return f"{request.path} does not accept {request.method}. The routes are {_routes(app)}."
    return error.description or error.name


def _routes(app: Flask) -> str:
    """List the routes: /ping (GET), /invocations (POST) and /execution-parameters (GET)."""
    methods: dict[str, list[str]] = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<path:", "{").replace(">", "}")
        methods.setdefault(path, []).extend(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
    *first, last = (f"{path} ({', '.join(names)})" for path, names in methods.items())
    return f"{', '.join(first)} and {last}"


def _error(status: int, reason: str, logged: str) -> Response:
    """Return an error response. `logged` is the part of the reason that may go into the log."""
    current().reason = logged
    response = Response(json.dumps(document(status, reason)), content_type="application/json")
    response.status_code = status
    return response
