"""Runs the programs `train` and `serve` as SageMaker does, but in this machine's environments and without Docker."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from local import ENVIRONMENTS, ROOT
from local.errors import CommandFailed, UserError
from local.images import IMAGES

# The seconds that SageMaker waits between SIGTERM and SIGKILL, for a training job and for an endpoint.
TRAIN_GRACE = 120.0
SERVE_GRACE = 30.0
READY_SECONDS = 120.0


class ProgramError(CommandFailed):
    """A program failed or did not respond; the message has its reason."""


def train(base: Path, algorithm: str, environments: Path = ENVIRONMENTS) -> None:
    """Run the training program on `base`, a folder like /opt/ml. Its log goes to our output.

    Raises ProgramError with the text of output/failure if it fails, UserError if its environment does not exist. On any
    other exception, such as Ctrl-C, the program is stopped as SageMaker stops a job.
    """
    python = _interpreter(environments, IMAGES[algorithm].environment)
    variables = {"SAGEMAKER_BASE_DIR": str(base.absolute()), "VISION_ALGORITHM": algorithm}
    with _running([str(python), "-m", "train"], variables, TRAIN_GRACE) as process:
        code = process.wait()
    if code:
        failure = base / "output" / "failure"
        reason = (
            failure.read_text(encoding="utf-8").strip() if failure.is_file() else "it wrote no reason to output/failure"
        )
        raise ProgramError(f"train failed with exit code {code}: {reason}")


@contextlib.contextmanager
def server(
    base: Path, log: Path, environments: Path = ENVIRONMENTS, ready_seconds: float = READY_SECONDS
) -> Iterator[int]:
    """Run the serving program on `base`; yield its port on 127.0.0.1 when /ping returns 200.

    Its output goes to the file `log`. Raises ProgramError with the last lines of the log if it exits early or is not
    ready after `ready_seconds`. SIGTERM stops it at the end of the block.
    """
    python = _interpreter(environments, "serve")
    port = free_port()
    variables = {"SAGEMAKER_BASE_DIR": str(base.absolute()), "SAGEMAKER_BIND_TO_PORT": str(port)}
    with log.open("wb") as output, _running([str(python), "-m", "serve"], variables, SERVE_GRACE, output) as process:
        _wait_until_ready(process, port, ready_seconds, log)
        yield port


def free_port() -> int:
    """Return an unused TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _interpreter(environments: Path, name: str) -> Path:
    python = environments.absolute() / name / "bin" / "python"  # not resolve(): it would leave the environment
    if not python.exists():
        raise UserError(
            f"{python} does not exist: create the environments with `make envs`, or give their folder with --envs"
        )
    return python


@contextlib.contextmanager
def _running(
    command: list[str], variables: Mapping[str, str], grace: float, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process and stop it at the end of the block. It has its own session, so that Ctrl-C does not reach it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process, grace)


def _stop(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """Send SIGTERM, wait `grace` seconds, then send SIGKILL to the process group; a second Ctrl-C ends the wait."""
    try:
        if process.poll() is None:
            process.terminate()
            process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while not _is_ready(port):
        try:
            code = process.wait(0.1)
        except subprocess.TimeoutExpired:
            if time.monotonic() < end:
                continue
            raise ProgramError(f"serve did not return 200 for /ping within {seconds:g} s: {_tail(log)}") from None
        raise ProgramError(f"serve exited with code {code} before it was ready: {_tail(log)}")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path, lines: int = 15) -> str:
    return f"last lines of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
