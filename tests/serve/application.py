"""Runs the application without a server, for tests that need neither HTTP nor processes."""

from collections.abc import Callable
from pathlib import Path

from flask.testing import FlaskClient

from serve.engine.loaded import Loaded
from serve.engine.models import ONLY, Models
from serve.engine.runtime import OnnxEngine
from serve.http.application import create_app
from serve.settings import Settings
from serve.telemetry.observer import Observer


def application(base: Path, **variables: str) -> FlaskClient:
    """Return a client of the application with the model in `base`, a folder like /opt/ml."""
    settings = Settings.from_environment({"SAGEMAKER_BASE_DIR": str(base), **variables})
    return client_of(OnnxEngine(settings.model_dir, 1), settings)


def client_of(engine: OnnxEngine, settings: Settings) -> FlaskClient:
    """Return a client of the application with a loaded model."""
    models = single_model(lambda _: engine)
    models.restore().join(30)
    return create_app(settings, models, Observer(settings)).test_client()


def single_model(load: Callable[[Path], OnnxEngine]) -> Models:
    """Return the models of a single-model server. `load` loads the model."""
    loaded = Loaded()
    loaded.add(ONLY, Path("/model"))
    return Models(lambda: load, loaded)
