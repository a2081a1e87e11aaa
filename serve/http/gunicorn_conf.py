"""gunicorn's settings, given to it as `-c python:serve.http.gunicorn_conf`; the application is made here too."""

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
# Beyond it the connection that has waited longest is closed. The model, children and the log need descriptors too.
_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_most = _files - 100 - _settings.admitted if _files != resource.RLIM_INFINITY else 2**20
worker_connections = max(16, min(1000 + _settings.threads, _most))
keepalive = 75  # longer than a client pools an idle connection: one that we close while it sends is a reset to it
timeout = max(60, _settings.timeout)  # of the worker's main loop, which no prediction can hold up
graceful_timeout = 25  # SIGKILL comes 30 s after SIGTERM
worker_tmp_dir = next((path for path in ("/dev/shm", "/tmp") if os.access(path, os.W_OK)), None)
control_socket_disable = True  # it would be written under the home folder, which may be read-only
forwarder_headers = ""  # gunicorn would let a client on this machine, or a proxy, replace the path
proc_name = "serve"
loglevel = "info"


class logger_class(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines in the format that the settings name."""

    def setup(self, cfg: Any) -> None:
        """Called with gunicorn's settings when the log is opened."""
        super().setup(cfg)
        if _settings.log_format == JSON:
            write_json(self.error_log.handlers)


BOOT_ERROR = 3
"""gunicorn's own exit code for a worker that cannot begin, at which it starts no other one."""

_DEATHS = 3
# Shared by the main process and its workers: whether one has ever loaded the model, and for each of the last 256
# workers whether it ended by itself.
_shared = mmap.mmap(-1, 1 + 256)
_deaths = 0

# Several workers keep their metrics in files, whichever of them is asked.
_metrics_files = Shared() if _settings.metrics and _settings.workers > 1 else None
_observer = Observer(_settings, _metrics_files)


def _loader() -> Load:
    from serve.engine.loading import Loader  # ONNX Runtime is imported beside Flask, not before it

    loader = Loader(_settings)
    if _settings.multi_model:
        importlib.import_module("serve.engine.runtime")  # now, so that the first model does not wait for it
        _shared[0] = 1  # whatever kills the worker from now on, the next one leaves it out
        return loader.load_another

    def load(folder: Path) -> "Engine":
        engine = loader.load(folder)
        _shared[0] = 1
        return engine

    return load


def _give_up() -> None:
    """End the worker with the code at which gunicorn stops for good, instead of starting another one."""
    logging.shutdown()
    os._exit(BOOT_ERROR)  # sys.exit would end the loading thread alone


_list = _settings.list_of_models
_loaded = Loaded(_list)
if not _settings.multi_model:
    _loaded.add(ONLY, _settings.model_dir)
_models = Models(_loader, _loaded, _observer.metrics)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker that is to begin its metrics' files; called in the main process."""
    if _metrics_files is not None:
        worker.metrics_number = _metrics_files.free(other.metrics_number for other in server.WORKERS.values())


def post_fork(server: Any, worker: Any) -> None:
    """Load what there is to load in the worker, while the worker imports Flask and begins to answer."""
    _heed_signals(server, worker)
    worker.refused = _observer.refused
    if _metrics_files is not None:
        _metrics_files.number = worker.metrics_number
    machine.be_killed_first(500)  # before the main process, which says what has happened
    _models.restore(None if _settings.multi_model else _give_up)


def _heed_signals(server: Any, worker: Any) -> None:
    """Let the worker end at a SIGTERM, or a Ctrl-C, that comes before gunicorn has given it its own handlers.

    Until then it has the main process's, which put the signal into a queue that nobody reads in a worker: the main
    process would wait for `graceful_timeout`, and kill the worker.
    """

    def stop(*_: object) -> None:
        worker.alive = False

    ending = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
    for number in ending:
        signal.signal(number, stop)
    while not server.SIG_QUEUE.empty():
        if server.SIG_QUEUE.get() in ending:
            stop()


def worker_exit(server: object, worker: Any) -> None:
    """Note that a worker ends by itself, and let its threads end; called in the worker."""
    _models.close()
    _shared[1 + worker.age % 256] = 1


def child_exit(server: Any, worker: Any) -> None:
    """Count the workers that were killed before any had loaded the model, and give up after a few.

    Raises HaltServer: for want of memory the next one would be killed too, and no line of the log would say why.
    """
    global _deaths
    if _metrics_files is not None:
        _metrics_files.ended(worker.metrics_number)
    if _shared[0] or _shared[1 + worker.age % 256]:
        return
    _deaths += 1
    if _deaths == _DEATHS:
        server.log.error(
            "The model cannot be served: %d processes were killed before they had loaded it, probably for want of "
            "memory. This container may use %.0f MB: give it more, choose a larger instance, or a smaller model.",
            *(_deaths, machine.memory_bytes() / 2**20),
        )
        raise HaltServer("Workers were killed before the model was loaded.", BOOT_ERROR)


def on_exit(server: object) -> None:
    """Remove what was made at start: a converted model, the list of models, metrics. Called in the main process."""
    if _metrics_files is not None:
        _metrics_files.remove()
    for folder in (_settings.converted, _list and _list.parent):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def application() -> "Flask":
    """The WSGI application of this process, around the models that post_fork began to load."""
    from serve.http.application import create_app

    return create_app(_settings, _models, _observer)
