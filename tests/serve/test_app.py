"""The application without a server: while the engine loads, when it fails, and when memory is full."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from serve.artifact import ArtifactError
from serve.engine.runtime import OnnxEngine
from serve.http.application import create_app
from serve.settings import Settings
from serve.telemetry.observer import Observer
from tests.photos import solid
from tests.serve.application import application, client_of, single_model

PHOTO = solid(255, 0, 0)


@pytest.fixture
def settings(models: Path) -> Settings:
    return Settings.from_environment({"SAGEMAKER_BASE_DIR": str(models / "classifier")})


@pytest.fixture
def engine(settings: Settings) -> OnnxEngine:
    return OnnxEngine(settings.model_dir, 1)


def status(client: FlaskClient) -> int:
    with client.post("/invocations", data=PHOTO) as reply:  # closing it releases its memory
        return reply.status_code


def test_ping_returns_503_with_a_reason_until_the_model_is_loaded(settings: Settings, engine: OnnxEngine) -> None:
    may_load, failures = threading.Event(), []

    def load(folder: Path) -> OnnxEngine:
        assert may_load.wait(30)
        return engine

    models = single_model(load)
    client = create_app(settings, models, Observer(settings)).test_client()
    loading = models.restore(lambda: failures.append("failed"))
    for reply in (client.get("/ping"), client.post("/invocations", data=PHOTO)):
        why = "The model is being loaded; try again in a second."
        assert reply.get_json() == {"status": 503, "reason": why, "error": why}
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    may_load.set()
    loading.join(30)
    assert client.get("/ping").status_code == 200
    assert status(client) == 200
    assert failures == []


def test_ping_returns_503_if_the_model_cannot_be_loaded(settings: Settings) -> None:
    def load(folder: Path) -> OnnxEngine:
        raise ArtifactError("model.onnx is missing.")

    failures: list[str] = []
    models = single_model(load)
    client = create_app(settings, models, Observer(settings)).test_client()
    models.restore(lambda: failures.append("failed")).join(30)
    assert failures == ["failed"]
    for reply in (client.get("/ping"), client.post("/invocations", data=PHOTO)):
        assert (reply.status_code, reply.get_json()["reason"]) == (
            503,
            "The model cannot be served; see the server's log.",
        )


def test_an_internal_error_is_500_without_details_and_the_next_request_succeeds(
    settings: Settings, engine: OnnxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tensors: np.ndarray) -> dict[str, np.ndarray]:
        raise RuntimeError("secret detail of our code")

    client = client_of(engine, settings)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "run", fail)
        reply = client.post("/invocations", data=PHOTO)
    why = "The server failed; see its log."
    assert (reply.status_code, reply.get_json()) == (500, {"status": 500, "reason": why, "error": why})
    assert status(client) == 200


def test_predictions_that_are_not_finite_get_500_with_a_reason(models: Path) -> None:
    reply = application(models / "classifier-overflow").post("/invocations", data=PHOTO)
    why = "The model's output is not finite: its weights are broken."
    assert (reply.status_code, reply.get_json()) == (500, {"status": 500, "reason": why, "error": why})


@pytest.mark.parametrize(
    ("body_memory", "statuses"),
    [(len(PHOTO) + 100, [200, 200]), (len(PHOTO) - 1, [503]), (len(PHOTO) + 1, [503])],
    ids=["a body with its response", "less than a body", "only a body"],
)
def test_requests_get_503_if_bodies_and_responses_exceed_the_memory_limit(
    settings: Settings, engine: OnnxEngine, body_memory: int, statuses: list[int]
) -> None:
    client = client_of(engine, replace(settings, body_memory=body_memory))
    assert [status(client) for _ in statuses] == statuses
