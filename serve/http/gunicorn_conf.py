"""The configuration of gunicorn (`--config python:serve.http.gunicorn_conf`), which also creates the application."""

import importlib
import logging
import mmap
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from serve import machine
from serve.engine.loaded import Loaded
from serve.engine.models import ONLY, Load, Models
from serve.http.log import write_json
from serve.settings import JSON, Settings
from serve.telemetry.observer import Observer
from serve.telemetry.shared import Shared

if TYPE_CHECKING:
    from flask import Flask

    from serve.engine.model import Engine

_settings = Settings.from_environment()

wsgi_app = "serve.http.gunicorn_conf:application()"
bind = f"0.0.0.0:{_settings.port}" if _settings.listener is None else f"fd://{_settings.listener}"
workers = _settings.workers
worker_class = "serve.http.worker.Worker"
threads = _settings.threads
# With more connections, the one that has waited longest is closed. The model, child processes and the log also need
# file descriptors.
_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_max_connections = _files - 100 - _settings.admitted if _files != resource.RLIM_INFINITY else 2**20
worker_connections = max(16, min(1000 + _settings.threads, _max_connections))
keepalive = 75  # longer than clients keep idle connections; closing one while a client sends would reset it
timeout = max(60, _settings.timeout)  # for the worker's main loop, which predictions do not block
graceful_timeout = 25  # SageMaker sends SIGKILL 30 s after SIGTERM
worker_tmp_dir = next((path for path in ("/dev/shm", "/tmp") if os.access(path, os.W_OK)), None)
control_socket_disable = True  # the socket would be in the home folder, which may be read-only
forwarder_headers = ""  # with the default, a proxy or a client on this machine could replace the path
proc_name = "serve"
loglevel = "info"


class logger_class(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Writes gunicorn's own log lines in the configured format."""

    def setup(self, cfg: Any) -> None:
        """Set up the log. Called with gunicorn's settings."""
        super().setup(cfg)
        if _settings.log_format == JSON:
            write_json(self.error_log.handlers)


BOOT_ERROR = 3
"""gunicorn's exit code for a worker that fails to boot. After it, gunicorn stops instead of starting another worker."""

_MAX_DEATHS = 3
# Shared by the main process and its workers: whether a worker has ever loaded the model, and for each of the last 256
# workers whether it exited by itself.
_shared = mmap.mmap(-1, 1 + 256)
_deaths = 0

# With several workers, metrics are in shared files, because any worker may get the request for /metrics.
_metrics_files = Shared() if _settings.metrics and _settings.workers > 1 else None
_observer = Observer(_settings, _metrics_files)


def _loader() -> Load:
    from serve.engine.loading import Loader  # in this thread, so that ONNX Runtime and Flask are imported concurrently

    loader = Loader(_settings)
    if _settings.multi_model:
        importlib.import_module("serve.engine.runtime")  # so that the first model does not wait for the import
        _shared[0] = 1  # if a model kills the worker from now on, the next worker skips that model
        return loader.load_another

    def load(folder: Path) -> "Engine":
        engine = loader.load(folder)
        _shared[0] = 1
        return engine

    return load


def _give_up() -> None:
    """End the worker with BOOT_ERROR, so that gunicorn stops."""
    logging.shutdown()
    os._exit(BOOT_ERROR)  # sys.exit would only end the loading thread


_list = _settings.list_of_models
_loaded = Loaded(_list)
if not _settings.multi_model:
    _loaded.add(ONLY, _settings.model_dir)
_models = Models(_loader, _loaded, _observer.metrics)


def pre_fork(server: Any, worker: Any) -> None:
    """Assign metrics files to a new worker. Called in the main process."""
    if _metrics_files is not None:
        worker.metrics_number = _metrics_files.free(other.metrics_number for other in server.WORKERS.values())


def post_fork(server: Any, worker: Any) -> None:
    """Start loading the models in a new worker, while it imports Flask and starts to serve requests."""
    _handle_signals(server, worker)
    worker.refused = _observer.refused
    if _metrics_files is not None:
        _metrics_files.number = worker.metrics_number
    machine.be_killed_first(500)  # before the main process, which then logs what has happened
    _models.restore(None if _settings.multi_model else _give_up)


def _handle_signals(server: Any, worker: Any) -> None:
    """Make the worker stop if SIGTERM or Ctrl-C comes before gunicorn has installed the worker's signal handlers.

    Until then, the worker has the handlers of the main process, which put signals into a queue that no worker reads.
    The main process would wait for `graceful_timeout` and then kill the worker.
    """

    def stop(*_: object) -> None:
        worker.alive = False

    stop_signals = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
    for number in stop_signals:
        signal.signal(number, stop)
    while not server.SIG_QUEUE.empty():
        if server.SIG_QUEUE.get() in stop_signals:
            stop()


def worker_exit(server: object, worker: Any) -> None:
    """Record that the worker exits by itself, and let its threads end. Called in the worker."""
    _models.close()
    _shared[1 + worker.age % 256] = 1


def child_exit(server: Any, worker: Any) -> None:
    """Count the workers that were killed before any had loaded the model, and give up after _MAX_DEATHS.

    Raises HaltServer. Without it, workers that run out of memory would be restarted and killed forever, without an
    explanation in the log.
    """
    global _deaths
    if _metrics_files is not None:
        _metrics_files.ended(worker.metrics_number)
    if _shared[0] or _shared[1 + worker.age % 256]:
        return
    _deaths += 1
    if _deaths == _MAX_DEATHS:
        server.log.error(
            "The model cannot be served: %d processes were killed while loading it, probably because memory ran out. "
            "This container may use %.0f MB: give it more memory, or use a larger instance or a smaller model.",
            _deaths,
            machine.memory_bytes() / 2**20,
        )
        raise HaltServer("Workers were killed before the model was loaded.", BOOT_ERROR)


def on_exit(server: object) -> None:
    """Remove the temporary files: converted model, list of models, metrics. Called in the main process."""
    if _metrics_files is not None:
        _metrics_files.remove()
    for folder in (_settings.converted, _list and _list.parent):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def application() -> "Flask":
    """Create the WSGI application of this process, for the models that post_fork has started to load."""
    from serve.http.application import create_app

    return create_app(_settings, _models, _observer)
