"""The metrics: what is counted for a request, their names, and when the library is imported."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from serve.http.admission import Gate
from serve.http.errors import Unavailable
from serve.settings import Settings
from serve.telemetry.metrics import Metrics
from serve.telemetry.observer import Observer
from serve.telemetry.trace import DECODE, ENCODE, MODEL, QUEUE, Trace, current, stage
from tests.environments import REPOSITORY
from tests.scrapes import Samples, names, samples, value


def scrape(metrics: Metrics) -> Samples:
    page, media = metrics.page()
    assert media == "text/plain; version=0.0.4; charset=utf-8"
    return samples(page)


def make_observer() -> tuple[Observer, Metrics]:
    observer = Observer(Settings.from_environment({}))
    assert observer.metrics is not None
    return observer, observer.metrics


def make_trace(
    status: int = 200, name: str = "pets", seconds: float = 0.0, stages: Mapping[str, float] | None = None
) -> Trace:
    trace = Trace("POST", "/invocations")
    trace.model, trace.status, trace.seconds = name, status, seconds
    for name_of_stage, seconds_of_stage in (stages or {}).items():
        trace.add(name_of_stage, seconds_of_stage)
    return trace


def test_requests_are_counted_by_model_and_status_and_those_with_503_by_reason() -> None:
    metrics = Metrics()
    for status in (200, 200, 400):
        metrics.responded(make_trace(status))
    metrics.responded(make_trace(404, ""))
    for reason in ("busy", "busy", "loading"):
        trace = make_trace(503)
        trace.unavailable = reason
        metrics.responded(trace)
    scraped = scrape(metrics)
    counts = {"200": 2, "400": 1, "503": 3}
    assert {status: value(scraped, "vision_requests_total", model="pets", status=status) for status in counts} == counts
    assert value(scraped, "vision_requests_total", model="", status="404") == 1
    assert value(scraped, "vision_requests_unavailable_total", model="pets", reason="busy") == 2
    assert value(scraped, "vision_requests_unavailable_total", model="pets", reason="loading") == 1


@pytest.mark.parametrize("path", ["/ping", "/metrics"])
def test_the_platforms_regular_requests_are_not_counted(path: str) -> None:
    metrics = Metrics()
    trace = Trace("GET", path)
    trace.status = 200
    metrics.responded(trace)
    assert [name for name, _ in scrape(metrics) if name == "vision_requests_total"] == []


def test_stages_count_every_request_that_reached_them_and_durations_only_successful_ones() -> None:
    metrics = Metrics()
    metrics.responded(make_trace(200, "pets", 0.3, {DECODE: 0.004, MODEL: 0.2, ENCODE: 0.001}))
    metrics.responded(make_trace(400, seconds=9.0, stages={DECODE: 0.3}))
    scraped = scrape(metrics)

    def stage_value(part: str, name: str, **labels: str) -> float:
        return value(scraped, f"vision_stage_duration_seconds_{part}", model="pets", stage=name, **labels)

    assert [stage_value("count", name) for name in (DECODE, MODEL, ENCODE, QUEUE)] == [2, 1, 1, 0]
    assert stage_value("sum", DECODE) == pytest.approx(0.304)
    assert stage_value("bucket", DECODE, le="0.005") == 1
    assert stage_value("bucket", DECODE, le="0.5") == 2
    assert value(scraped, "vision_request_duration_seconds_count", model="pets") == 1
    assert value(scraped, "vision_request_duration_seconds_sum", model="pets") == pytest.approx(0.3)


def test_requests_in_progress_and_waiting_are_current_numbers() -> None:
    observer, metrics = make_observer()
    trace = make_trace()

    def now() -> tuple[float, float]:
        scraped = scrape(metrics)
        names = ("vision_requests_in_progress", "vision_requests_waiting")
        return tuple(value(scraped, name, model="pets") for name in names)  # type: ignore[return-value]

    with observer.in_progress(trace):
        assert now() == (1, 0)
        with observer.waiting(trace, now) as turn:
            assert now() == (1, 1)
            assert turn() == (1, 0)
        assert now() == (1, 0)
    assert now() == (0, 0)
    assert set(trace.stages) == {QUEUE}


def test_a_turn_that_never_comes_counts_as_queue_time_and_the_request_no_longer_waits() -> None:
    observer, metrics = make_observer()
    trace, gate = make_trace(), Gate(admitted=1, queue=1)

    def give_up() -> None:
        with pytest.raises(Unavailable, match="no turn"), observer.waiting(trace, int) as turn:
            gate.predict("pets", 0.05, turn)

    gate.predict("pets", 10, give_up)  # it holds the only turn
    assert trace.stages[QUEUE] >= 0.05
    assert value(scrape(metrics), "vision_requests_waiting", model="pets") == 0


def test_stages_within_a_turn_count_for_its_request_and_stages_outside_for_none() -> None:
    observer, _ = make_observer()
    gate = Gate(admitted=1, queue=0)

    def predict() -> None:
        with stage(MODEL):
            pass

    def application(environ: Mapping[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with observer.waiting(current(), predict) as turn:
            gate.predict("pets", 10, turn)
        traces.append(current())
        start("200 OK", [("Content-Length", "7")])
        return []

    traces: list[Trace] = []
    environ_of_request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID": "mine"}
    observer.trace_requests(application)(environ_of_request, lambda *_: None)
    gate.predict("pets", 10, predict)  # outside a request, in a thread that served one before
    [trace] = traces
    assert set(trace.stages) == {QUEUE, MODEL}
    assert (trace.id, trace.status, trace.sent) == ("mine", 200, 7)
    assert current() is not trace


def test_an_unloaded_model_leaves_no_series_and_counts_from_0_when_it_is_loaded_again() -> None:
    metrics = Metrics()
    for model in ("a", "b"):
        metrics.loaded(model, 1.5, 1000)
        metrics.responded(make_trace(200, model, 1.0, {MODEL: 0.1}))
    metrics.unloaded("a")
    scraped = scrape(metrics)
    assert [labels for _, labels in scraped if ("model", "a") in labels] == []
    assert value(scraped, "vision_model_load_seconds", model="b") == 1.5
    assert value(scraped, "vision_model_memory_bytes", model="b") == 1000
    metrics.responded(make_trace(200, "a", 1.0, {MODEL: 0.1}))
    assert value(scrape(metrics), "vision_requests_total", model="a", status="200") == 1


def test_the_page_holds_exactly_the_metrics_that_the_documentation_lists() -> None:
    metrics = Metrics()
    metrics.loaded("model", 1.0, 1)
    page = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1].partition("{")[0] for line in page.splitlines() if line.startswith("| `vision_")}
    on_page = names(metrics.page()[0])
    assert documented == {name for name in on_page if name.startswith("vision_")}
    assert {name.partition("_")[0] for name in on_page} == {"vision", "process"}


_REFUSED = """
import sys
from serve.telemetry.metrics import Metrics
from serve.telemetry.trace import Trace

metrics, trace = Metrics(), Trace("POST", "/invocations")
trace.model, trace.status, trace.unavailable = "model", 503, "loading"
metrics.responded(trace)
metrics.responded(trace)
print("prometheus_client" in sys.modules)
metrics.loaded("model", 1.0, 1)
print("prometheus_client" in sys.modules)
metrics.responded(trace)
print(metrics.page()[0].decode())
"""


def test_rejections_while_a_model_is_loading_are_counted_without_importing_the_library() -> None:
    result = subprocess.run([sys.executable, "-c", _REFUSED], capture_output=True, text=True, check=True, timeout=60)
    before, after, *page = result.stdout.splitlines()
    assert (before, after) == ("False", "True")
    assert 'vision_requests_unavailable_total{model="model",reason="loading"} 3.0' in page
    assert 'vision_requests_total{model="model",status="503"} 3.0' in page
