"""gunicorn's settings, given to it as `-c python:serve.gunicorn_conf`; the application is made here too."""

import logging
import os
import resource
import shutil
from typing import TYPE_CHECKING

from serve.model import Model
from serve.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from serve.forms import Engine

_settings = Settings.from_environment()

wsgi_app = "serve.gunicorn_conf:application()"
bind = f"0.0.0.0:{_settings.port}" if _settings.listener is None else f"fd://{_settings.listener}"
workers = _settings.workers
worker_class = "serve.worker.Worker"
threads = _settings.threads
# Beyond it the connection that has waited longest is closed. The model, children and the log need descriptors too.
worker_connections = min(1000 + _settings.threads, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
keepalive = 75  # longer than a client pools an idle connection: one that we close while it sends is a reset to it
timeout = max(60, _settings.timeout)  # of the worker's main loop, which no prediction can hold up
graceful_timeout = 25  # SIGKILL comes 30 s after SIGTERM
worker_tmp_dir = next((path for path in ("/dev/shm", "/tmp") if os.access(path, os.W_OK)), None)
control_socket_disable = True  # it would be written under the home folder, which may be read-only
proc_name = "serve"
loglevel = "info"


def _load() -> "Engine":
    from serve.loading import load  # NumPy and ONNX Runtime are imported beside Flask, not before it

    return load(_settings)


def _give_up() -> None:
    """End the worker with the code at which gunicorn stops for good, instead of starting another one."""
    logging.shutdown()
    os._exit(3)  # Arbiter.WORKER_BOOT_ERROR; sys.exit would end the loading thread alone


_model = Model(_load, _give_up)


def post_fork(server: object, worker: object) -> None:
    """Load the model in the worker, while the worker imports Flask and begins to answer."""
    _model.start()


def on_exit(server: object) -> None:
    """Remove what was converted at start; called in the main process alone."""
    if _settings.converted is not None:
        shutil.rmtree(_settings.converted, ignore_errors=True)


def application() -> "Flask":
    """The WSGI application of this process, around the model that post_fork began to load."""
    from serve.app import create_app

    return create_app(_settings, _model)
