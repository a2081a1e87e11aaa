"""The metrics themselves, of Prometheus's client library. Imported only when they are needed: see metrics."""

import threading
from dataclasses import dataclass
from functools import partial

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from serve.telemetry.shared import Shared
from serve.telemetry.trace import STAGES, Trace

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Seconds. SageMaker waits 60 for an answer."""
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


@dataclass(frozen=True)
class OfModel:
    """The metrics of one model, found once: to look one up by its labels takes longer than to count."""

    inside: Gauge
    waiting: Gauge
    duration: Histogram
    stages: dict[str, Histogram]

    def observe(self, trace: Trace) -> None:
        """Note the stages of a request, and how long it took if it was answered."""
        for stage, seconds in trace.stages.items():
            self.stages[stage].observe(seconds)
        if trace.status == 200:
            self.duration.observe(trace.seconds)


class Instruments:
    """All metrics. Safe to share by threads; docs/metrics.md describes each."""

    def __init__(self, shared: Shared | None) -> None:
        """`shared` is where several worker processes keep their counts."""
        if shared is not None:
            shared.use()  # before the first metric
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        if shared is None:
            ProcessCollector(registry=registry)
        disable_created_metrics()  # a second series for each count
        histogram = partial(Histogram, registry=registry, buckets=BUCKETS)
        gauge = partial(Gauge, labelnames=["model"], registry=registry, multiprocess_mode="livesum")
        self._requests = Counter(
            "vision_requests", "Requests answered, but /ping and /metrics.", ["model", "status"], registry=registry
        )
        self._unavailable = Counter(
            "vision_requests_unavailable", "Requests answered 503, by reason.", ["model", "reason"], registry=registry
        )
        self._duration = histogram(
            "vision_request_duration_seconds", "Predictions answered 200, from headers to answer.", ["model"]
        )
        self._stages = histogram(
            "vision_stage_duration_seconds", f"Stages of predictions: {', '.join(STAGES)}.", ["model", "stage"]
        )
        self._inside = gauge("vision_requests_in_progress", "Requests admitted and not answered yet.")
        self._waiting = gauge("vision_requests_waiting", "Requests among them that wait for their turn.")
        self._memory = gauge("vision_model_memory_bytes", "Resident memory that loading the model took.")
        self._seconds = gauge(
            "vision_model_load_seconds", "Time that loading the model took.", multiprocess_mode="livemax"
        )
        self._lock = threading.Lock()
        self._models: dict[str, OfModel] = {}

    def of(self, model: str) -> OfModel:
        """The metrics of a model."""
        found = self._models.get(model)
        if found is None:
            with self._lock:
                found = self._models[model] = OfModel(
                    self._inside.labels(model),
                    self._waiting.labels(model),
                    self._duration.labels(model),
                    {stage: self._stages.labels(model, stage) for stage in STAGES},
                )
        return found

    def count(self, model: str, status: int, unavailable: str, times: int = 1) -> None:
        """Count requests that were answered; `unavailable` is the reason for a 503, else ""."""
        self._requests.labels(model, status).inc(times)
        if unavailable:
            self._unavailable.labels(model, unavailable).inc(times)

    def loaded(self, model: str, seconds: float, resident: int) -> None:
        """Note what it took to load a model; `resident` in bytes."""
        self._seconds.labels(model).set(seconds)
        self._memory.labels(model).set(resident)

    def forget(self, model: str) -> None:
        """Leave a model out from now on."""
        with self._lock:
            self._models.pop(model, None)
        for metric in (self._requests, self._unavailable, self._duration, self._stages, self._inside, self._waiting):
            metric.remove_by_labels({"model": model})
        for gauge in (self._memory, self._seconds):
            gauge.remove_by_labels({"model": model})

    def page(self) -> bytes:
        """All of them in Prometheus's text format, of all workers."""
        return generate_latest(self._registry if self._shared is None else self._shared.registry())
