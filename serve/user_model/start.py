"""Binds the server's port and, if necessary, converts the model while requests get 503."""

import errno
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from serve.artifact import ArtifactError
from serve.settings import CONVERTED, ENGINE, LISTENER, ONNX, PORT, TENSORFLOW, Settings, SettingsError
from serve.user_model import discovery, placeholder_server
from serve.user_model.discovery import NotConverted, UserModel

log = logging.getLogger("serve")

_BACKLOG = 2048


def reexec_after_conversion(settings: Settings, user_model: UserModel) -> NoReturn:
    """Convert the model and become its server, with ONNX Runtime if possible, else with TensorFlow.

    The process executes itself again and keeps the socket, so no connection is lost. Raises ArtifactError if the model
    cannot be served at all, and SettingsError if the port cannot be bound.
    """
    tensorflow = discovery.tensorflow_python()
    if tensorflow is None:
        raise ArtifactError(discovery.no_tensorflow(user_model))
    listener = listen(settings.port)
    out = Path(tempfile.mkdtemp(prefix="serve-converted-"))
    try:
        with placeholder_server.running(listener):
            engine = _convert(settings, user_model, out, tensorflow)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    python = str(tensorflow) if engine == TENSORFLOW else sys.executable
    listener.set_inheritable(True)
    variables = {ENGINE: engine, CONVERTED: str(out), LISTENER: str(listener.fileno())}
    logging.shutdown()
    os.execve(python, [python, "-m", "serve"], os.environ | variables)


def listen(port: int) -> socket.socket:
    """Listen on the port, on all addresses. Raises SettingsError if the port cannot be bound."""
    try:
        return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        why = "is in use: stop the program that uses it, or" if in_use else f"cannot be bound ({error.strerror}):"
        raise SettingsError(f"port {port} {why} set {PORT} (with `make serve`: PORT) to another port.") from error


def _convert(settings: Settings, user_model: UserModel, out: Path, tensorflow: Path) -> str:
    """Convert the model into the folder `out`, and return the engine to use."""
    start = time.monotonic()
    if settings.engine == TENSORFLOW:
        if user_model.path.is_file():
            discovery.export(user_model, out, tensorflow, only_saved_model=True)
        return TENSORFLOW
    log.info("converting %s for ONNX Runtime; /ping returns 503 until this is done", user_model.name)
    try:
        message = discovery.convert(user_model, out, tensorflow, Path(sys.executable))
    except NotConverted as error:
        log.warning("serving %s with TensorFlow, which is slower than ONNX Runtime: %s", user_model.name, error)
        return TENSORFLOW
    log.info("%s (%.0f s)", message, time.monotonic() - start)
    return ONNX
