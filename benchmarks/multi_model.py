"""Starts a multi-model server in a container, sends requests to it, and measures the memory of its processes."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 60


@dataclass
class Container:
    """A multi-model server under test, on a port of this machine."""

    id: str
    host: str
    port: int

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that opens on the first request."""
        return http.client.HTTPConnection(self.host, self.port, timeout=120)

    def request(self, method: str, path: str, body: bytes | None = None) -> int:
        """Send a request on a new connection and return the status. Raises OSError, HTTPException."""
        with closing(self.connect()) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            response.read()
            return response.status

    def load(self, name: str, folder: str) -> int:
        """Load a model, and return the status."""
        return self.request("POST", "/models", json.dumps({"model_name": name, "url": folder}).encode())

    def log(self) -> str:
        """Return the container's log."""
        done = subprocess.run(
            ["docker", "logs", self.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return done.stdout

    def processes(self) -> list[int]:
        """Return the ids of the main process and its worker, in that order."""
        main = int(docker("inspect", "--format={{.State.Pid}}", self.id))
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def memory(self, key: str = "Pss") -> float:
        """Return the memory of the main process and its worker in MB."""
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.processes()]
        fields = [line.split() for text in texts for line in text.splitlines()]
        return sum(int(value) for name, value, *_ in fields if name == f"{key}:") / 1000


@contextmanager
def started(image: str, memory: str, mounts: dict[str, Path]) -> Iterator[Container]:
    """Run a container of the image in multi-model mode while the block runs, and yield it when it is ready."""
    volumes = [f"--volume={folder.resolve()}:{path}:ro" for path, folder in mounts.items()]
    options = [f"--memory={memory}", f"--memory-swap={memory}", "--publish=127.0.0.1::8080"]
    id_ = docker("run", "--detach", "--env=SAGEMAKER_MULTI_MODEL=true", *options, *volumes, image, "serve")
    id_ = id_.strip()
    try:
        host, port = docker("port", id_, "8080").split()[0].split(":")
        container = Container(id_, host, int(port))
        _wait_until_ready(container)
        yield container
    except (OSError, http.client.HTTPException):
        subprocess.run(["docker", "logs", id_], stdout=sys.stderr, check=False)
        raise
    finally:
        docker("rm", "--force", "--volumes", id_)


def _wait_until_ready(container: Container) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if container.request("GET", "/ping") == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)  # the port is not bound yet
    sys.exit(f"/ping did not return 200 within {READY_SECONDS} s; see docker logs {container.id}")


def docker(*arguments: str) -> str:
    """Run a docker command and return its output. Exits if it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout
