"""The metrics of Prometheus's client library. Imported only when needed; see serve.telemetry.metrics."""

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
"""In seconds. SageMaker waits 60 seconds for a response."""
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


@dataclass(frozen=True)
class ModelMetrics:
    """The metrics of one model, kept because looking a metric up by its labels takes longer than counting."""

    in_progress: Gauge
    waiting: Gauge
    duration: Histogram
    stages: dict[str, Histogram]

    def observe(self, trace: Trace) -> None:
        """Record the time of each stage of a request, and its duration if it was successful."""
        for stage, seconds in trace.stages.items():
            self.stages[stage].observe(seconds)
        if trace.status == 200:
            self.duration.observe(trace.seconds)


class Instruments:
    """All metrics, described in docs/metrics.md. Thread-safe."""

    def __init__(self, shared: Shared | None) -> None:
        """`shared` holds the metrics of several worker processes."""
        if shared is not None:
            shared.use()  # before any metric is created
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        if shared is None:
            ProcessCollector(registry=registry)
        disable_created_metrics()  # otherwise each counter has a second series
        histogram = partial(Histogram, registry=registry, buckets=BUCKETS)
        gauge = partial(Gauge, labelnames=["model"], registry=registry, multiprocess_mode="livesum")
        self._requests = Counter(
            "vision_requests", "Requests, except to /ping and /metrics.", ["model", "status"], registry=registry
        )
        self._unavailable = Counter(
            "vision_requests_unavailable",
            "Requests with status 503, by reason.",
            ["model", "reason"],
            registry=registry,
        )
        self._duration = histogram(
            "vision_request_duration_seconds",
            "Duration of predictions with status 200, from headers to response.",
            ["model"],
        )
        self._stages = histogram(
            "vision_stage_duration_seconds", f"Stages of predictions: {', '.join(STAGES)}.", ["model", "stage"]
        )
        self._in_progress = gauge("vision_requests_in_progress", "Requests admitted and not yet finished.")
        self._waiting = gauge("vision_requests_waiting", "Requests in progress that wait for their turn.")
        self._memory = gauge("vision_model_memory_bytes", "Resident memory used by loading the model.")
        self._seconds = gauge("vision_model_load_seconds", "Load time of the model.", multiprocess_mode="livemax")
        self._lock = threading.Lock()
        self._models: dict[str, ModelMetrics] = {}

    def of(self, model: str) -> ModelMetrics:
        """Return the metrics of a model."""
        metrics = self._models.get(model)
        if metrics is None:
            with self._lock:
                metrics = self._models[model] = ModelMetrics(
                    self._in_progress.labels(model),
                    self._waiting.labels(model),
                    self._duration.labels(model),
                    {stage: self._stages.labels(model, stage) for stage in STAGES},
                )
        return metrics

    def count(self, model: str, status: int, unavailable: str, times: int = 1) -> None:
        """Count finished requests. `unavailable` is the reason for a 503, else ""."""
        self._requests.labels(model, status).inc(times)
        if unavailable:
            self._unavailable.labels(model, unavailable).inc(times)

    def loaded(self, model: str, seconds: float, resident: int) -> None:
        """Record the load time of a model and its `resident` memory in bytes."""
        self._seconds.labels(model).set(seconds)
        self._memory.labels(model).set(resident)

    def forget(self, model: str) -> None:
        """Remove the metrics of a model."""
        with self._lock:
            self._models.pop(model, None)
        for metric in (self._requests, self._unavailable, self._duration, self._stages):
            metric.remove_by_labels({"model": model})
        for gauge in (self._in_progress, self._waiting, self._memory, self._seconds):
            gauge.remove_by_labels({"model": model})

    def page(self) -> bytes:
        """Return all metrics of all workers in Prometheus's text format."""
        return generate_latest(self._registry if self._shared is None else self._shared.registry())
