"""A real registry on loopback, Debian's docker-registry, and what goes into it by `make push`."""

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
    """A docker-registry that keeps its images in `folder`, while the block runs; gives its HOST:PORT.

    Skips where the program is not installed. `settings` are more lines of its configuration.
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
            rest = threading.Thread(target=process.stderr.read)  # a full pipe would stop it
            rest.start()
            try:
                yield host
            finally:
                process.terminate()
                rest.join()
        finally:
            process.kill()


def _listens(process: subprocess.Popen[str]) -> str:
    """Which HOST:PORT it took. Its log ends when it does."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if found := re.search(r"listening on (127\.0\.0\.1:[0-9]+)", line):
            return found[1]
    raise AssertionError(f"docker-registry ended: {''.join(seen)}")


@contextlib.contextmanager
def tagged(image: str, reference: str) -> Iterator[None]:
    """`image` also goes by `reference` while the block runs; then every name of it in that registry is taken away."""
    subprocess.run(["docker", "tag", image, reference], check=True)
    repository = reference.rpartition(":")[0]
    try:
        yield
    finally:
        known = inspect(image)
        names = [name for name in (*known["RepoDigests"], *known["RepoTags"]) if name.startswith(repository)]
        subprocess.run(["docker", "rmi", "--no-prune", *names], capture_output=True, check=True)


def push(address: str, tag: str, name: str = "inference") -> subprocess.CompletedProcess[str]:
    """`make push/NAME` to the registry at `address`."""
    return subprocess.run(
        ["make", f"push/{name}", f"REGISTRY={address}", f"TAG={tag}", "VARIANT=cpu"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
