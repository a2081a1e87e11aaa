"""The start of a server: its port is bound, and answers 503 at once where the model has to be converted first."""

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


def reexec_after_conversion(settings: Settings, found: UserModel) -> NoReturn:
    """Convert the model and become the server: under ONNX Runtime, or under TensorFlow where that cannot be.

    The process replaces itself and keeps the socket, so no connection is lost. Raises ArtifactError when the model
    cannot be served at all, SettingsError when the port cannot be bound.
    """
    tensorflow = discovery.tensorflow_python()
    if tensorflow is None:
        raise ArtifactError(discovery.no_tensorflow(found))
    listener = listen(settings.port)
    out = Path(tempfile.mkdtemp(prefix="serve-converted-"))
    try:
        with placeholder_server.answering(listener):
            engine = _convert(settings, found, out, tensorflow)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    python = str(tensorflow) if engine == TENSORFLOW else sys.executable
    listener.set_inheritable(True)
    variables = {ENGINE: engine, CONVERTED: str(out), LISTENER: str(listener.fileno())}
    logging.shutdown()
    os.execve(python, [python, "-m", "serve"], os.environ | variables)


def listen(port: int) -> socket.socket:
    """Listen on the port, on all addresses. Raises SettingsError when it cannot be bound."""
    try:
        return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)
    except OSError as error:
        used = error.errno == errno.EADDRINUSE
        why = "is in use: stop the program that listens there, or" if used else f"cannot be bound ({error.strerror}):"
        raise SettingsError(f"port {port} {why} set {PORT} (with `make serve` PORT) to another one.") from error


def _convert(settings: Settings, found: UserModel, out: Path, tensorflow: Path) -> str:
    """Fill `out`, and return the engine that is to serve."""
    begun = time.monotonic()
    if settings.engine == TENSORFLOW:
        if found.path.is_file():
            discovery.export(found, out, tensorflow, only_saved_model=True)
        return TENSORFLOW
    log.info("%s is being converted for ONNX Runtime; /ping answers 503 meanwhile", found.name)
    try:
        said = discovery.convert(found, out, tensorflow, Path(sys.executable))
    except NotConverted as error:
        log.warning("%s is served by TensorFlow, more slowly than by ONNX Runtime: %s", found.name, error)
        return TENSORFLOW
    log.info("%s (%.0f s)", said, time.monotonic() - begun)
    return ONNX
