"""The application without a server around it, for what neither HTTP nor processes have a part in."""

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
    """A client of the application with the model in `base`, a folder shaped like /opt/ml."""
    settings = Settings.from_environment({"SAGEMAKER_BASE_DIR": str(base), **variables})
    return around(OnnxEngine(settings.model_dir, 1), settings)


def around(engine: OnnxEngine, settings: Settings) -> FlaskClient:
    """A client of the application with a model that is loaded already."""
    models = only(lambda _: engine)
    models.restore().join(30)
    return create_app(settings, models, Observer(settings)).test_client()


def only(load: Callable[[Path], OnnxEngine]) -> Models:
    """A server's one model, which `load` is to load."""
    loaded = Loaded()
    loaded.add(ONLY, Path("/model"))
    return Models(lambda: load, loaded)
