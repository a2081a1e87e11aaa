"""SIGTERM: running requests finish, new ones are rejected, and the process exits with 0 in time."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.photos import solid
from tests.serve.clients import connections
from tests.server import Server

PHOTO = solid(255, 0, 0)


def test_a_request_in_flight_finishes_and_the_process_exits_with_0(models: Path) -> None:
    with Server(models / "classifier") as server:
        with server.wait_until_ready().upload(len(PHOTO), PHOTO[:5]) as upload:
            started = time.monotonic()
            server.terminate()
            server.wait_for("Handling signal: term")
            upload.send(PHOTO[5:])
            response = server.response(upload)
            assert (response.status, len(response.json())) == (200, 3)
        assert server.wait(30) == 0
        assert time.monotonic() - started < 15


def test_sigterm_while_the_model_loads_exits_with_0_and_without_an_abort(models: Path) -> None:
    with Server(models / "classifier") as server:
        server.wait_for("Booting worker")
        server.terminate()
        assert server.wait(15) == 0
        assert not [line for line in server.log() if "SIGABRT" in line or "Traceback" in line]


# Imitates gunicorn in a new worker, with a SIGTERM before or after our hook, but before gunicorn's handlers. Until then
# the worker has the main process's handlers, which queue the signal.
YOUNG_WORKERS = """
import os, queue, signal, sys
from types import SimpleNamespace
from serve.http import gunicorn_conf, worker as _

number = signal.Signals[sys.argv[1]]
for sent in ("never", "before", "after"):
    arbiter, worker = SimpleNamespace(SIG_QUEUE=queue.SimpleQueue()), SimpleNamespace(alive=True)
    signal.signal(number, lambda number, frame: arbiter.SIG_QUEUE.put(number))
    if sent == "before":
        os.kill(os.getpid(), number)
    arbiter.SIG_QUEUE.put(signal.SIGCHLD)
    gunicorn_conf.post_fork(arbiter, worker)
    if sent == "after":
        os.kill(os.getpid(), number)
    print(sent, worker.alive)
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGQUIT", "SIGINT"])  # gunicorn turns Ctrl-C into SIGQUIT
def test_a_worker_handles_a_signal_that_arrives_before_gunicorn_installs_its_handlers(
    models: Path, number: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", YOUNG_WORKERS, number],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "SAGEMAKER_BASE_DIR": str(models / "classifier")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["never True", "before False", "after False"]


@pytest.mark.parametrize("workers", [1, 2])
def test_new_connections_are_rejected_while_a_request_finishes(models: Path, workers: int) -> None:
    with Server(models / "classifier", SAGEMAKER_MODEL_SERVER_WORKERS=str(workers)) as server:
        server.wait_for("/ping returns 200", times=workers)
        with server.upload(len(PHOTO), PHOTO[:5]) as upload, connections(server, 5, b""):
            server.terminate()
            server.wait_for("Handling signal: term")
            end = time.monotonic() + 5
            while accepts(server):
                assert time.monotonic() < end
            upload.send(PHOTO[5:])
            assert server.response(upload).status == 200
            assert server.wait(10) == 0, "idle connections must not keep the process alive"


def accepts(server: Server) -> bool:
    """Return whether a new connection is accepted and not closed during its handshake."""
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    except (ConnectionResetError, TimeoutError):
        pass
    return True
