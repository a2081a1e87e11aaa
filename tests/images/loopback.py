"""Runs a real registry, Debian's docker-registry, on the loopback interface, and pushes images to it."""

import contextlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.images.container import inspect


@contextlib.contextmanager
def registry(folder: Path, *settings: str) -> Iterator[str]:
    """Run a docker-registry that stores its images in `folder` while the block runs. Yield its HOST:PORT.

    Skip the test if the program is not installed. `settings` are additional lines of its configuration.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed: apt-get install docker-registry")
    lines = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {folder}/images}}}}",
        "http: {addr: 127.0.0.1:0}",
    ]
    (folder / "config.yml").write_text("\n".join([*lines, *settings, ""]))
    with subprocess.Popen([program, "serve", folder / "config.yml"], stderr=subprocess.PIPE, text=True) as process:
        try:
            host = _listens(process)
            rest = threading.Thread(target=process.stderr.read)  # a full pipe would block the registry
            rest.start()
            try:
                yield host
            finally:
                process.terminate()
                rest.join()
        finally:
            process.kill()


def _listens(process: subprocess.Popen[str]) -> str:
    """Return the registry's HOST:PORT from its log."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if match := re.search(r"listening on (127\.0\.0\.1:[0-9]+)", line):
            return match[1]
    raise AssertionError(f"docker-registry ended: {''.join(seen)}")


@contextlib.contextmanager
def tagged(image: str, reference: str) -> Iterator[None]:
    """Tag `image` as `reference` while the block runs. Then remove all its names in that registry."""
    subprocess.run(["docker", "tag", image, reference], check=True)
    repository = reference.rpartition(":")[0]
    try:
        yield
    finally:
        known = inspect(image)
        names = [name for name in (*known["RepoDigests"], *known["RepoTags"]) if name.startswith(repository)]
        subprocess.run(["docker", "rmi", "--no-prune", *names], capture_output=True, check=True)


def push(address: str, tag: str, name: str = "inference") -> subprocess.CompletedProcess[str]:
    """Run `make push/NAME` with the registry at `address`."""
    return subprocess.run(
        ["make", f"push/{name}", f"REGISTRY={address}", f"TAG={tag}", "VARIANT=cpu"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
