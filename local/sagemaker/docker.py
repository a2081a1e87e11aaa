"""Checks Docker before SageMaker local mode uses it, and cleans up afterwards.

Both SDKs leave behind stopped containers, a network named `sagemaker-local`, and temporary folders with files that
belong to root. `workspace` creates a folder for these files, and removes everything at the end.
"""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from local.errors import UserError

NETWORK = "sagemaker-local"
# Compose labels its containers with the folder of its file, which identifies the containers of a workspace.
PROJECT_FOLDER = "com.docker.compose.project.working_dir"


class DockerError(UserError):
    """Docker is not usable. The message says what is missing and how to fix it."""


def check(image: str) -> None:
    """Raise DockerError unless local mode's programs are installed, Docker is running and it has the image.

    Without this check, Docker looks for a missing image in a public registry and reports that access is denied.
    """
    for program, package in (("docker", "Docker"), ("pgrep", "procps")):
        if shutil.which(program) is None:
            raise DockerError(f"{program} is not on PATH: install {package}, which SageMaker local mode needs")
    check_image(image)


def check_image(image: str) -> None:
    """Raise DockerError unless Docker is running and has the image."""
    if shutil.which("docker") is None:
        raise DockerError("docker is not on PATH: install Docker")
    completed = _docker("image", "inspect", "--format", "{{.Id}}", image)
    if completed.returncode == 0:
        return
    reason = completed.stderr.strip()
    if "no such image" in reason.lower():
        name = image.rpartition("/")[2].partition(":")[0]
        raise DockerError(f"the image {image} is not on this machine: run `make build/{name}` or `docker pull {image}`")
    raise DockerError(f"cannot connect to Docker: start the engine, or set DOCKER_HOST; Docker reported: {reason}")


def check_port(port: int) -> None:
    """Raise DockerError if `port` (1 to 65535) is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise DockerError(
                f"port {port} cannot be used ({error.strerror}): stop the program that uses it, or choose another port "
                "with --port"
            ) from None


@contextlib.contextmanager
def workspace(parent: Path, image: str) -> Iterator[Path]:
    """Yield a new folder in `parent` for the SDK's files; at the end, remove it and the containers started from it.

    If `parent` did not exist and is empty at the end, it is removed too.

    `image` is used to delete files that belong to root, if the caller is not root. The folder is not in /tmp, because
    /tmp is often small, and Docker Desktop shares home folders by default.
    """
    is_new = not parent.exists()
    parent.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="local-mode-", dir=parent.resolve()))
    try:
        yield root
    finally:
        with _uninterrupted():
            remove_containers(root)
            _remove_idle_network()
            _remove_tree(root, image)
            if is_new:
                with contextlib.suppress(OSError):  # it is not empty: it has the result
                    parent.rmdir()


def containers(root: Path, state: str | None = None) -> list[str]:
    """Return the ids of the containers that Compose created from files below `root`, filtered by `state` if given."""
    template = '{{.ID}}\t{{.Label "' + PROJECT_FOLDER + '"}}'
    state_filter = ["--filter", f"status={state}"] if state else []
    label_filter = ["--filter", f"label={PROJECT_FOLDER}"]
    output = _checked("ps", "--all", *state_filter, "--no-trunc", *label_filter, "--format", template)
    rows = (line.split("\t", 1) for line in output.splitlines())
    return [identity for identity, folder in rows if Path(folder).is_relative_to(root)]


def remove_containers(root: Path) -> None:
    """Stop (SIGTERM, 10 s, SIGKILL) and remove the containers that Compose created from files below `root`."""
    ids = containers(root)
    if ids:
        _checked("stop", "--time=10", *ids)
        _checked("rm", "--force", "--volumes", *ids)


def _remove_idle_network() -> None:
    """Remove the SDKs' network unless it is in use.

    Both SDKs use this name, and each complains about the other's network.
    """
    users = _docker("network", "inspect", "--format", "{{len .Containers}}", NETWORK)
    if users.returncode == 0 and users.stdout.strip() == "0":
        _checked("network", "rm", NETWORK)


def _remove_tree(root: Path, image: str) -> None:
    """Delete `root`. If files belong to root, a container makes them writable first."""
    try:
        shutil.rmtree(root)
    except PermissionError:
        _checked("run", "--rm", "--network=none", "--volume", f"{root}:/of-root", "--entrypoint=chmod", image,
                 "-R", "a+rwX", "/of-root")  # fmt: skip
        shutil.rmtree(root)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C, so that a second one does not stop the cleanup halfway."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def _checked(*arguments: str) -> str:
    completed = _docker(*arguments)
    if completed.returncode != 0:
        raise DockerError(f"`docker {' '.join(arguments[:3])}` failed: {completed.stderr.strip()}")
    return completed.stdout
