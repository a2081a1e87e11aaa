"""Starts a container for a test, waits for it with a deadline, and removes it at the end."""

import contextlib
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

FOREIGN = "4321:4321"
RESTRICTED = ("--read-only", "--tmpfs=/tmp", f"--user={FOREIGN}", "--network=none")


class Container:
    """Runs `docker run --detach OPTIONS IMAGE COMMAND` while the block runs. Failures show the container's log."""

    def __init__(
        self,
        image: str,
        *command: str,
        mounts: Mapping[str, Path] | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`mounts` maps "/path/in/container" or "/path/in/container:ro" to a folder on the host."""
        volumes = [f"--volume={folder}:{path}" for path, folder in (mounts or {}).items()]
        variables = [f"--env={name}={value}" for name, value in (env or {}).items()]
        self._run = ["run", "--detach", *volumes, *variables, *options, image, *command]
        self.id = ""

    def __enter__(self) -> Self:
        self.id = _docker(*self._run).strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _docker("rm", "--force", "--volumes", self.id)

    def log(self) -> str:
        """Return the container's stdout and stderr so far."""
        done = subprocess.run(
            ["docker", "logs", self.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return done.stdout

    def wait(self, seconds: float) -> int:
        """Return the exit code. Fail if the container still runs after `seconds`."""
        try:
            return int(_docker("wait", self.id, timeout=seconds))
        except subprocess.TimeoutExpired:
            raise self._failure(f"still running after {seconds:g} s") from None

    def wait_for(self, pattern: str, seconds: float) -> str:
        """Return the first log line that matches `pattern`. Fail if the container ends or the time runs out."""
        follower = subprocess.Popen(
            ["docker", "logs", "--follow", self.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        deadline = threading.Timer(seconds, follower.kill)
        deadline.start()
        assert follower.stdout is not None
        try:
            for line in follower.stdout:
                if re.search(pattern, line):
                    return line
        finally:
            late = not deadline.is_alive()
            deadline.cancel()
            follower.kill()
            follower.stdout.close()
            follower.wait()
        raise self._failure(f"no line with {pattern!r} " + (f"in {seconds:g} s" if late else "before it ended"))

    def stop(self, seconds: int) -> int:
        """Send SIGTERM, then SIGKILL after `seconds`, as SageMaker does. Return the exit code."""
        _docker("stop", f"--time={seconds}", self.id, timeout=seconds + 30)
        return self.wait(5)

    def execute(self, *command: str, timeout: float = 60) -> str:
        """Run a command inside the container and return its output."""
        return _docker("exec", self.id, *command, timeout=timeout)

    def address(self, port: int = 8080) -> str:
        """Return the HOST:PORT of a port that is published with --publish=127.0.0.1::PORT."""
        return _docker("port", self.id, str(port)).split()[0]

    def wait_until_ready(self, seconds: float = 60) -> str:
        """Wait until GET /ping returns 200, and return the address. Fail if the container ends or the time runs out."""
        address, end = self.address(), time.monotonic() + seconds
        watcher = subprocess.Popen(["docker", "wait", self.id], stdout=subprocess.PIPE, text=True)
        with watcher:
            try:
                while time.monotonic() < end:
                    if _is_ready(f"http://{address}/ping"):
                        return address
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        raise self._failure(
                            f"ended with {watcher.communicate(timeout=0.1)[0].strip()} before /ping returned 200"
                        )
            finally:
                watcher.kill()
        raise self._failure(f"/ping did not return 200 in {seconds:g} s")

    def _failure(self, what: str) -> AssertionError:
        return AssertionError(f"container {what}: docker {' '.join(self._run)}\n{self.log()}")


def output(image: str, *command: str, options: Sequence[str] = ()) -> str:
    """Run a command in a new container and return its stdout. Fail with its stderr if it fails."""
    return _docker("run", "--rm", *options, image, *command, timeout=120)


def inspect(image: str) -> dict[str, object]:
    """Return the image's configuration from `docker image inspect`."""
    return json.loads(_docker("image", "inspect", image))[0]


def own_layers(image: str, first: str) -> int:
    """Return the bytes of the layers that we add to the base. The instruction of the first one contains `first`."""
    total = 0
    for line in _docker(
        "history", "--no-trunc", "--human=false", "--format={{.Size}}\t{{.CreatedBy}}", image
    ).splitlines():
        size, instruction = line.split("\t", 1)
        total += int(size)
        if first in instruction:
            return total
    raise AssertionError(f"no layer of {image} was made by {first!r}")


def make_removable(folder: Path, image: str) -> None:
    """Let the tests' user remove files that a container wrote below `folder` as another uid."""
    if os.geteuid() != 0:
        output(image, "chmod", "-R", "a+rwX", "/given", options=["--user=0", f"--volume={folder}:/given"])


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _docker(*arguments: str, timeout: float = 60) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
