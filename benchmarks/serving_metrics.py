"""Measures the cost of metrics and the request log in microseconds of CPU time per request, without HTTP or a model.

    .venvs/serve/bin/python -m benchmarks.serving_metrics     (from the repository's root)

An application that computes nothing goes through the stages of a prediction, alternately with and without the server's
Observer. The difference is the cost. The goal is at most 50 us for the metrics. Also measures a scrape with 20 models.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

from serve.http.log import JsonFormatter, Record, TextFormatter
from serve.settings import Settings
from serve.telemetry.metrics import Metrics
from serve.telemetry.observer import Observer
from serve.telemetry.shared import Shared
from serve.telemetry.trace import STAGES, Trace, current, stage

_ENVIRON = {"REQUEST_METHOD": "POST", "PATH_INFO": "/invocations"}
_MODELS = 20

Application = Callable[..., Iterable[bytes]]


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving_metrics", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="turns of each kind (default: 40)")
    parser.add_argument("--requests", type=int, default=500, help="requests per turn (default: 500)")
    arguments = parser.parse_args()
    shared = Shared()
    try:
        kinds = {
            "no observer": _bare,
            "trace only": _observed(VISION_METRICS="false"),
            "metrics": _observed(),
            "metrics and a line of text": _observed(VISION_LOG_REQUESTS="all"),
            "metrics and a line of JSON": _observed(VISION_LOG_REQUESTS="all", VISION_LOG_FORMAT="json"),
            # Must be last, because from here on the library stores all new metrics in files.
            "metrics of several workers": _observed(shared),
        }
        _scrape()
        _compare(kinds, arguments.rounds, arguments.requests)
    finally:
        shared.remove()


def _compare(kinds: dict[str, Application], rounds: int, requests: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds + 1):
        for name, application in kinds.items():
            start = time.process_time()
            for _ in range(requests):
                application(_ENVIRON, _start_response)
            seconds[name].append((time.process_time() - start) / requests)
    medians = {name: 1e6 * statistics.median(times[1:]) for name, times in seconds.items()}  # the first is a warm-up
    for name, median in medians.items():
        print(f"{name:28} {median:6.1f} us per request, {median - medians['no observer']:6.1f} us more")


def _scrape() -> None:
    metrics = Metrics()
    for number in range(_MODELS):
        trace = Trace("POST", "/invocations")
        trace.model, trace.status = f"model-{number}", 200
        for name in STAGES:
            trace.add(name, 0.01)
        metrics.responded(trace)
        metrics.loaded(trace.model, 1.0, 10**8)
    seconds = []
    for _ in range(20):
        start = time.process_time()
        page, _ = metrics.page()
        seconds.append(time.process_time() - start)
    print(f"a scrape with {_MODELS} models: {1e3 * statistics.median(seconds):.1f} ms, {len(page) / 1000:.0f} kB")


def _observed(shared: Shared | None = None, **variables: str) -> Application:
    """Return an application that calls each hook of serve.http.application and of the engines once, like the server."""
    settings = Settings.from_environment(variables)
    log = logging.getLogger("serve")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = logging.StreamHandler(open("/dev/null", "w"))  # noqa: SIM115 - open until the process ends
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter("%(asctime)s %(message)s"))
    logging.setLogRecordFactory(Record)
    observer = Observer(settings, shared)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        trace = current()
        trace.model = "model"
        with observer.in_progress(trace):
            with stage("receive"):
                trace.count_received(_take)(1000)
            with stage("decode"):
                pass
            with observer.waiting(trace, _respond) as respond:
                respond()
        return _bare(environ, start)

    traced = observer.trace_requests(application)

    def with_its_log(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        log.handlers = [handler]
        return traced(environ, start)

    return with_its_log


def _respond() -> None:
    for name in ("decode", "model", "encode", "encode"):
        with stage(name):
            pass


def _bare(_: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", "60")])
    return []


def _start_response(status: str, headers: list[tuple[str, str]]) -> None:
    pass


def _take(count: int) -> None:
    pass


if __name__ == "__main__":
    main()
