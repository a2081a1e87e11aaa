"""The Docker engine under SageMaker local mode: is it there, has it the image, and is everything gone afterwards.

Both SDKs leave behind what they start: stopped containers, a network named `sagemaker-local`, temporary folders whose
files belong to root. A `workspace` is the folder under which the SDK makes all of it, and takes it away at its end.
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
# Compose writes the folder of its file on every container that it makes: our mark, with no name to agree on.
PROJECT_FOLDER = "com.docker.compose.project.working_dir"


class DockerError(UserError):
    """The Docker engine cannot do what was asked. The message says what is missing and how to get it."""


def check(image: str) -> None:
    """Raise DockerError unless local mode's programs are there, an engine answers and it has the image `image`.

    Without this an image that was never built is looked for in a public registry, and the error speaks of access.
    """
    for program, package in (("docker", "Docker"), ("pgrep", "procps")):
        if shutil.which(program) is None:
            raise DockerError(f"{program} is not on PATH: SageMaker local mode calls it; install {package}")
    check_image(image)


def check_image(image: str) -> None:
    """Raise DockerError unless an engine answers and has the image `image`."""
    if shutil.which("docker") is None:
        raise DockerError("docker is not on PATH: install Docker")
    found = _docker("image", "inspect", "--format", "{{.Id}}", image)
    if found.returncode == 0:
        return
    reason = found.stderr.strip()
    if "no such image" in reason.lower():
        name = image.rpartition("/")[2].partition(":")[0]
        raise DockerError(f"the image {image} is not on this machine: run `make build/{name}` or `docker pull {image}`")
    raise DockerError(f"no Docker engine answers: start it, or set DOCKER_HOST; docker said: {reason}")


def check_port(port: int) -> None:
    """Raise DockerError when something on this machine listens on `port` (1 to 65535) already."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise DockerError(
                f"port {port} cannot be used ({error.strerror}): stop what listens there, or choose another with --port"
            ) from None


@contextlib.contextmanager
def workspace(parent: Path, image: str) -> Iterator[Path]:
    """A new folder in `parent` for the SDK's files; at the end it is gone, with every container made from below it.

    `image` is used to give root's files back to the caller, where the caller is not root. Lies in a folder of the
    caller's rather than in /tmp: /tmp is often small, and Docker Desktop shares home folders without being asked.
    """
    parent.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="local-mode-", dir=parent.resolve()))
    try:
        yield root
    finally:
        with _uninterrupted():
            remove_containers(root)
            _remove_idle_network()
            _remove_tree(root, image)


def containers(root: Path, state: str | None = None) -> list[str]:
    """Ids of the containers that Compose made from files below `root`; with `state`, those in it ("exited", ...)."""
    form = '{{.ID}}\t{{.Label "' + PROJECT_FOLDER + '"}}'
    which = ["--filter", f"status={state}"] if state else []
    listed = _checked("ps", "--all", *which, "--no-trunc", "--filter", f"label={PROJECT_FOLDER}", "--format", form)
    rows = (line.split("\t", 1) for line in listed.splitlines())
    return [identity for identity, folder in rows if Path(folder).is_relative_to(root)]


def remove_containers(root: Path) -> None:
    """Stop (SIGTERM, 10 s, SIGKILL) and remove every container that Compose made from files below `root`."""
    found = containers(root)
    if found:
        _checked("stop", "--time=10", *found)
        _checked("rm", "--force", "--volumes", *found)


def _remove_idle_network() -> None:
    """The SDKs share this network by name, and each complains about the other's; one in use is left alone."""
    users = _docker("network", "inspect", "--format", "{{len .Containers}}", NETWORK)
    if users.returncode == 0 and users.stdout.strip() == "0":
        _checked("network", "rm", NETWORK)


def _remove_tree(root: Path, image: str) -> None:
    """Delete `root`. Containers write as root: for any other user, a container opens the files first."""
    try:
        shutil.rmtree(root)
    except PermissionError:
        _checked("run", "--rm", "--network=none", "--volume", f"{root}:/of-root", "--entrypoint=chmod", image,
                 "-R", "a+rwX", "/of-root")  # fmt: skip
        shutil.rmtree(root)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C, often hit out of impatience, must not stop the removal half way."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def _checked(*arguments: str) -> str:
    done = _docker(*arguments)
    if done.returncode != 0:
        raise DockerError(f"`docker {' '.join(arguments[:3])}` failed: {done.stderr.strip()}")
    return done.stdout
