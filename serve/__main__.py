"""`python -m serve`: serve the model under SAGEMAKER_BASE_DIR/model over HTTP until SIGTERM."""

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
    """Check the settings and the model's description, say what will be served, and become gunicorn.

    What a user's script left is converted first, which starts this program again. Exits 1 with one sentence for an
    environment variable or a model that cannot be used, 2 for an argument, 3 when model.onnx turns out to be broken, 0
    after SIGTERM.
    """
    _check_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until gunicorn's own; process 1 has no default for it
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
    from gunicorn.app.wsgiapp import run  # only now: the lines above come first, whatever an import may cost

    sys.argv = ["gunicorn", "--config", "python:serve.http.gunicorn_conf"]
    run()


def _prepare(settings: Settings) -> None:
    """Introduce the server and check its model, or start again with what a script left. Raises ArtifactError."""
    wants_tensorflow = settings.engine != ONNX
    found = discovery.find(settings.model_dir, beside_graph=wants_tensorflow)
    if found is None and wants_tensorflow:
        raise ArtifactError(f"{settings.model_dir} holds no SavedModel and no .keras file for TensorFlow to serve.")
    if found is not None:
        discovery.refuse_handlers(settings.model_dir)
        _introduce(settings)
        start.reexec_after_conversion(settings, found)
    model = _described(settings)
    _introduce(settings)
    log.info("model %s, %s", settings.model_dir, model)


def _prepare_for_many(settings: Settings) -> None:
    """Introduce the server, which begins without a model. Raises SettingsError."""
    if settings.engine != ONNX:
        raise SettingsError(f"{ENGINE} is {settings.engine!r}, with {MULTI_MODEL} it must be {ONNX!r} or not set.")
    _introduce(settings)
    if settings.workers_ignored:
        log.warning(
            "%s is %d: ignored with %s, as a model is loaded by a request, which one process sees",
            *(WORKERS, settings.workers_ignored, MULTI_MODEL),
        )
    log.info("models come and go by requests to /models")
    os.environ[LIST_OF_MODELS] = str(Path(tempfile.mkdtemp(prefix="serve-models-")) / "models.json")


def _check_arguments() -> None:
    """Take no argument but --help and `serve`, which the platform adds where an image has an ENTRYPOINT. May exit 2."""
    parser = argparse.ArgumentParser(
        prog="serve",
        description="Serve the model in SAGEMAKER_BASE_DIR/model (default /opt/ml/model) on port "
        "SAGEMAKER_BIND_TO_PORT (default 8080). Settings are environment variables: see docs/serving.md.",
    )
    given = parser.parse_known_args()[1]
    if wrong := given[given[:1] == ["serve"] :]:
        parser.error(
            f"{wrong[0]!r} is not an argument of serve: its settings are environment variables, docs/serving.md"
        )


def _introduce(settings: Settings) -> None:
    log.info("serve %s, %d CPUs, %.1f GiB memory", __version__, machine.cpu_count(), machine.memory_bytes() / 2**30)
    log.info(
        "port %d, %s, each %s at once on %s, %d in line, then 503",
        *(settings.port, plural(settings.workers, "worker process"), plural(settings.admitted, "prediction")),
        *(plural(settings.model_threads, "thread"), settings.queue),
    )


def _described(settings: Settings) -> str:
    """What the log says of the model. Raises ArtifactError when model.json cannot be used."""
    if signature.task(settings.model_dir) == TENSORS:
        discovery.refuse_handlers(settings.model_dir)
        return str(signature.read(settings.model_dir))
    model = artifact.read(settings.model_dir)
    size = f"{model.input.channels} x {model.input.height} x {model.input.width} ({model.input.rule})"
    return f"{model.task} {model.network}, {plural(len(model.class_names), 'class')}, input {size}"


if __name__ == "__main__":
    main()
