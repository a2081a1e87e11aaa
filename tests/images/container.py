"""One container of a test: started with options, watched with a deadline, removed at the end."""

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
    """`docker run --detach OPTIONS IMAGE COMMAND` while the block runs. Every failure carries the container's log."""

    def __init__(
        self,
        image: str,
        *command: str,
        mounts: Mapping[str, Path] | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`mounts` maps "/path/in/container" or "/path/in/container:ro" to a folder here."""
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
        """What the container has written so far, both streams."""
        done = subprocess.run(
            ["docker", "logs", self.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return done.stdout

    def wait(self, seconds: float) -> int:
        """The exit code. Fails when the container still runs after `seconds`."""
        try:
            return int(_docker("wait", self.id, timeout=seconds))
        except subprocess.TimeoutExpired:
            raise self._failure(f"still running after {seconds:g} s") from None

    def wait_for(self, pattern: str, seconds: float) -> str:
        """The first line of the log in which `pattern` is found. Fails when the container ends, or time runs out."""
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
        """SIGTERM, then SIGKILL after `seconds`, as SageMaker does; returns the exit code."""
        _docker("stop", f"--time={seconds}", self.id, timeout=seconds + 30)
        return self.wait(5)

    def execute(self, *command: str, timeout: float = 60) -> str:
        """The output of a command run inside the container."""
        return _docker("exec", self.id, *command, timeout=timeout)

    def address(self, port: int = 8080) -> str:
        """HOST:PORT here of a port that was published with --publish=127.0.0.1::PORT."""
        return _docker("port", self.id, str(port)).split()[0]

    def wait_until_ready(self, seconds: float = 60) -> str:
        """The address once GET /ping answers 200 there. Fails when the container ends, or time runs out."""
        address, end = self.address(), time.monotonic() + seconds
        watcher = subprocess.Popen(["docker", "wait", self.id], stdout=subprocess.PIPE, text=True)
        with watcher:
            try:
                while time.monotonic() < end:
                    if _answers(f"http://{address}/ping"):
                        return address
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        raise self._failure(
                            f"ended with {watcher.communicate(timeout=0.1)[0].strip()} before /ping answered 200"
                        )
            finally:
                watcher.kill()
        raise self._failure(f"/ping did not answer 200 in {seconds:g} s")

    def _failure(self, what: str) -> AssertionError:
        return AssertionError(f"container {what}: docker {' '.join(self._run)}\n{self.log()}")


def output(image: str, *command: str, options: Sequence[str] = ()) -> str:
    """What a command in a fresh container writes to stdout; fails with its stderr when it ends badly."""
    return _docker("run", "--rm", *options, image, *command, timeout=120)


def inspect(image: str) -> dict[str, object]:
    """The image's configuration, as `docker image inspect` tells it."""
    return json.loads(_docker("image", "inspect", image))[0]


def own_layers(image: str, first: str) -> int:
    """Bytes of the layers from the one whose instruction contains `first` upwards: what we put on the base."""
    total = 0
    for line in _docker(
        "history", "--no-trunc", "--human=false", "--format={{.Size}}\t{{.CreatedBy}}", image
    ).splitlines():
        size, instruction = line.split("\t", 1)
        total += int(size)
        if first in instruction:
            return total
    raise AssertionError(f"no layer of {image} was made by {first!r}")


def give_back(folder: Path, image: str) -> None:
    """Let the user of the tests remove what a container wrote below `folder` under another uid."""
    if os.geteuid() != 0:
        output(image, "chmod", "-R", "a+rwX", "/given", options=["--user=0", f"--volume={folder}:/given"])


def _answers(url: str) -> bool:
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
