"""`python -m serve`: serve the model in SAGEMAKER_BASE_DIR/model over HTTP until SIGTERM."""

import argparse
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from serve import __version__, artifact, machine
from serve.artifact import TENSORS, ArtifactError
from serve.http.log import TextFormatter, install, printable, write_json
from serve.settings import ENGINE, JSON, LIST_OF_MODELS, LISTENER, MULTI_MODEL, ONNX, WORKERS, Settings, SettingsError
from serve.user_model import discovery, signature, start
from serve.words import plural

log = logging.getLogger("serve")


def main() -> None:
    """Check the settings and the model's description, log what will be served, and become gunicorn.

    A model that a user's script saved is converted first; then this program executes itself again. Exit codes: 1 with
    a one-sentence message if an environment variable or the model cannot be used, 2 for an unknown argument, 3 if
    model.onnx is broken, 0 after SIGTERM.
    """
    _check_arguments()
    # As process 1, Python ignores SIGTERM unless it has a handler. gunicorn later installs its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    install()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        settings = Settings.from_environment()
        if settings.log_format == JSON:
            write_json([handler])
        if settings.listener is None:
            if settings.multi_model:
                _prepare_for_many(settings)
            else:
                _prepare(settings)
            os.environ[LISTENER] = str(start.listen(settings.port).detach())  # for serve.http.gunicorn_conf
    except (SettingsError, ArtifactError) as error:
        sys.exit(f"serve: {printable(str(error))}")
    from gunicorn.app.wsgiapp import run  # imported late so that the log lines above appear without delay

    sys.argv = ["gunicorn", "--config", "python:serve.http.gunicorn_conf"]
    run()


def _prepare(settings: Settings) -> None:
    """Log the settings and check the model; convert a script's model and re-execute. Raises ArtifactError."""
    use_tensorflow = settings.engine != ONNX
    user_model = discovery.find(settings.model_dir, ignore_graph=use_tensorflow)
    if user_model is None and use_tensorflow:
        raise ArtifactError(f"{settings.model_dir} has no SavedModel or .keras file for TensorFlow to serve.")
    if user_model is not None:
        discovery.refuse_handlers(settings.model_dir)
        _log_settings(settings)
        start.reexec_after_conversion(settings, user_model)
    description = _describe_model(settings)
    _log_settings(settings)
    log.info("model %s, %s", settings.model_dir, description)


def _prepare_for_many(settings: Settings) -> None:
    """Log the settings of a multi-model server, which starts without a model. Raises SettingsError."""
    if settings.engine != ONNX:
        raise SettingsError(f"{ENGINE} is {settings.engine!r}, with {MULTI_MODEL} it must be {ONNX!r} or not set.")
    _log_settings(settings)
    if settings.workers_ignored:
        log.warning(
            "%s is %d: ignored with %s, because a request to load a model reaches only one worker",
            WORKERS,
            settings.workers_ignored,
            MULTI_MODEL,
        )
    log.info("models are loaded and unloaded by requests to /models")
    os.environ[LIST_OF_MODELS] = str(Path(tempfile.mkdtemp(prefix="serve-models-")) / "models.json")


def _check_arguments() -> None:
    """Exit with code 2 for unknown arguments. `serve` is allowed: SageMaker adds it if an image has an ENTRYPOINT."""
    parser = argparse.ArgumentParser(
        prog="serve",
        description="Serve the model in SAGEMAKER_BASE_DIR/model (default /opt/ml/model) on port "
        "SAGEMAKER_BIND_TO_PORT (default 8080). Settings are environment variables: see docs/serving.md.",
    )
    arguments = parser.parse_known_args()[1]
    if arguments[:1] == ["serve"]:
        del arguments[0]
    if arguments:
        parser.error(
            f"{arguments[0]!r} is not an argument of serve: its settings are environment variables, see docs/serving.md"
        )


def _log_settings(settings: Settings) -> None:
    log.info("serve %s, %d CPUs, %.1f GiB memory", __version__, machine.cpu_count(), machine.memory_bytes() / 2**30)
    log.info(
        "port %d, %s; limits per process: %s at a time, %s per prediction, %s",
        settings.port,
        plural(settings.workers, "worker process"),
        plural(settings.admitted, "prediction"),
        plural(settings.model_threads, "thread"),
        plural(settings.queue, "queued request"),
    )


def _describe_model(settings: Settings) -> str:
    """Return the log's description of the model. Raises ArtifactError if model.json cannot be used."""
    if signature.task(settings.model_dir) == TENSORS:
        discovery.refuse_handlers(settings.model_dir)
        return str(signature.read(settings.model_dir))
    model = artifact.read(settings.model_dir)
    size = f"{model.input.channels} x {model.input.height} x {model.input.width} ({model.input.rule})"
    return f"{model.task} {model.network}, {plural(len(model.class_names), 'class')}, input {size}"


if __name__ == "__main__":
    main()
