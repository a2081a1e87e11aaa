"""The metrics: what is counted of a request, under which name, and when the library is imported."""

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


def scraped(metrics: Metrics) -> Samples:
    page, media = metrics.page()
    assert media == "text/plain; version=0.0.4; charset=utf-8"
    return samples(page)


def observed() -> tuple[Observer, Metrics]:
    observer = Observer(Settings.from_environment({}))
    assert observer.metrics is not None
    return observer, observer.metrics


def answered(
    status: int = 200, name: str = "pets", seconds: float = 0.0, stages: Mapping[str, float] | None = None
) -> Trace:
    trace = Trace("POST", "/invocations")
    trace.model, trace.status, trace.seconds = name, status, seconds
    for one, spent in (stages or {}).items():
        trace.add(one, spent)
    return trace


def test_requests_are_counted_by_model_and_status_and_503s_by_reason() -> None:
    metrics = Metrics()
    for status in (200, 200, 400):
        metrics.answered(answered(status))
    metrics.answered(answered(404, ""))
    for reason in ("busy", "busy", "loading"):
        trace = answered(503)
        trace.unavailable = reason
        metrics.answered(trace)
    found = scraped(metrics)
    counts = {"200": 2, "400": 1, "503": 3}
    assert {status: value(found, "vision_requests_total", model="pets", status=status) for status in counts} == counts
    assert value(found, "vision_requests_total", model="", status="404") == 1
    assert value(found, "vision_requests_unavailable_total", model="pets", reason="busy") == 2
    assert value(found, "vision_requests_unavailable_total", model="pets", reason="loading") == 1


@pytest.mark.parametrize("path", ["/ping", "/metrics"])
def test_what_the_platform_asks_again_and_again_is_not_counted(path: str) -> None:
    metrics = Metrics()
    trace = Trace("GET", path)
    trace.status = 200
    metrics.answered(trace)
    assert [name for name, _ in scraped(metrics) if name == "vision_requests_total"] == []


def test_stages_are_of_all_that_reached_them_and_the_whole_of_what_was_answered() -> None:
    metrics = Metrics()
    metrics.answered(answered(200, "pets", 0.3, {DECODE: 0.004, MODEL: 0.2, ENCODE: 0.001}))
    metrics.answered(answered(400, seconds=9.0, stages={DECODE: 0.3}))
    found = scraped(metrics)

    def stage_of(part: str, name: str, **labels: str) -> float:
        return value(found, f"vision_stage_duration_seconds_{part}", model="pets", stage=name, **labels)

    assert [stage_of("count", name) for name in (DECODE, MODEL, ENCODE, QUEUE)] == [2, 1, 1, 0]
    assert stage_of("sum", DECODE) == pytest.approx(0.304)
    assert stage_of("bucket", DECODE, le="0.005") == 1
    assert stage_of("bucket", DECODE, le="0.5") == 2
    assert value(found, "vision_request_duration_seconds_count", model="pets") == 1
    assert value(found, "vision_request_duration_seconds_sum", model="pets") == pytest.approx(0.3)


def test_in_progress_and_waiting_are_of_this_moment() -> None:
    observer, metrics = observed()
    trace = answered()

    def now() -> tuple[float, float]:
        found = scraped(metrics)
        names = ("vision_requests_in_progress", "vision_requests_waiting")
        return tuple(value(found, name, model="pets") for name in names)  # type: ignore[return-value]

    with observer.inside(trace):
        assert now() == (1, 0)
        with observer.waiting(trace, now) as in_its_turn:
            assert now() == (1, 1)
            assert in_its_turn() == (1, 0)
        assert now() == (1, 0)
    assert now() == (0, 0)
    assert set(trace.stages) == {QUEUE}


def test_a_turn_that_never_comes_is_time_in_the_queue_and_nobody_waits_any_more() -> None:
    observer, metrics = observed()
    trace, gate = answered(), Gate(admitted=1, queue=1)

    def give_up() -> None:
        with pytest.raises(Unavailable, match="no turn"), observer.waiting(trace, int) as turn:
            gate.predict("pets", 0.05, turn)

    gate.predict("pets", 10, give_up)  # in the only turn there is
    assert trace.stages[QUEUE] >= 0.05
    assert value(scraped(metrics), "vision_requests_waiting", model="pets") == 0


def test_stages_of_the_turn_count_for_the_request_and_those_outside_of_one_for_nobody() -> None:
    observer, _ = observed()
    gate = Gate(admitted=1, queue=0)

    def predict() -> None:
        with stage(MODEL):
            pass

    def application(environ: Mapping[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with observer.waiting(current(), predict) as turn:
            gate.predict("pets", 10, turn)
        seen.append(current())
        start("200 OK", [("Content-Length", "7")])
        return []

    seen: list[Trace] = []
    asked = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID": "mine"}
    observer.traced(application)(asked, lambda *_: None)
    gate.predict("pets", 10, predict)  # for no request, in the thread that worked for one
    [trace] = seen
    assert set(trace.stages) == {QUEUE, MODEL}
    assert (trace.id, trace.status, trace.sent) == ("mine", 200, 7)
    assert current() is not trace


def test_a_model_that_is_unloaded_leaves_no_series_and_counts_from_0_when_it_is_back() -> None:
    metrics = Metrics()
    for model in ("a", "b"):
        metrics.loaded(model, 1.5, 1000)
        metrics.answered(answered(200, model, 1.0, {MODEL: 0.1}))
    metrics.unloaded("a")
    found = scraped(metrics)
    assert [labels for _, labels in found if ("model", "a") in labels] == []
    assert value(found, "vision_model_load_seconds", model="b") == 1.5
    assert value(found, "vision_model_memory_bytes", model="b") == 1000
    metrics.answered(answered(200, "a", 1.0, {MODEL: 0.1}))
    assert value(scraped(metrics), "vision_requests_total", model="a", status="200") == 1


def test_a_full_page_describes_what_the_documentation_lists() -> None:
    metrics = Metrics()
    metrics.loaded("model", 1.0, 1)
    page = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = {line.split("`")[1].partition("{")[0] for line in page.splitlines() if line.startswith("| `vision_")}
    found = names(metrics.page()[0])
    assert listed == {name for name in found if name.startswith("vision_")}
    assert {name.partition("_")[0] for name in found} == {"vision", "process"}


_REFUSED = """
import sys
from serve.telemetry.metrics import Metrics
from serve.telemetry.trace import Trace

metrics, trace = Metrics(), Trace("POST", "/invocations")
trace.model, trace.status, trace.unavailable = "model", 503, "loading"
metrics.answered(trace)
metrics.answered(trace)
print("prometheus_client" in sys.modules)
metrics.loaded("model", 1.0, 1)
print("prometheus_client" in sys.modules)
metrics.answered(trace)
print(metrics.page()[0].decode())
"""


def test_refusals_while_a_model_is_loaded_are_counted_and_do_not_import_the_library() -> None:
    done = subprocess.run([sys.executable, "-c", _REFUSED], capture_output=True, text=True, check=True, timeout=60)
    before, after, *page = done.stdout.splitlines()
    assert (before, after) == ("False", "True")
    assert 'vision_requests_unavailable_total{model="model",reason="loading"} 3.0' in page
    assert 'vision_requests_total{model="model",status="503"} 3.0' in page
