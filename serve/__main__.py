"""`python -m serve`: serve the model under SAGEMAKER_BASE_DIR/model over HTTP until SIGTERM."""

import argparse
import logging
import signal
import sys

from serve import __version__, artifact, machine
from serve.artifact import Artifact, ArtifactError
from serve.settings import Settings, SettingsError

log = logging.getLogger("serve")


def main() -> None:
    """Check the settings and the model's description, say what will be served, and become gunicorn.

    Exits 1 with one sentence for an environment variable or a model.json that cannot be used, 3 when model.onnx
    turns out to be broken, 0 after SIGTERM.
    """
    _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until gunicorn's own; process 1 has no default for it
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = Settings.from_environment()
        description = artifact.read(settings.model_dir)
    except (SettingsError, ArtifactError) as error:
        sys.exit(f"serve: {error}")
    _introduce(settings, description)
    from gunicorn.app.wsgiapp import run  # only now: the lines above come first, whatever an import may cost

    sys.argv = ["gunicorn", "--config", "python:serve.gunicorn_conf"]
    run()


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="serve",
        description="Serve the model in SAGEMAKER_BASE_DIR/model (default /opt/ml/model) on port "
        "SAGEMAKER_BIND_TO_PORT (default 8080). Settings are environment variables: see docs/serving.md.",
    )


def _introduce(settings: Settings, model: Artifact) -> None:
    spec = model.input
    log.info("serve %s, %d CPUs, %.1f GiB memory", __version__, machine.cpu_count(), machine.memory_bytes() / 2**30)
    log.info(
        "port %d, %d worker process(es), each %d predictions at once on %d threads, %d in line, then 503",
        *(settings.port, settings.workers, settings.admitted, settings.model_threads, settings.queue),
    )
    log.info(
        "model %s, %s %s, %d classes, input %d x %d x %d (%s)",
        *(settings.model_dir, model.task, model.network, len(model.class_names)),
        *(spec.channels, spec.height, spec.width, spec.rule),
    )


if __name__ == "__main__":
    main()
