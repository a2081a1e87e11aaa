"""`make push` with a real Docker engine and a real registry on the loopback interface."""

import contextlib
import json
import os
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.errors import CommandFailed
from local.registry.docker_engine import DOCKER_MANIFEST, Registry
from tests.environments import REPOSITORY
from tests.images.container import inspect
from tests.images.loopback import push, registry, tagged

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TO_OCI = {
    DOCKER_MANIFEST: OCI_MANIFEST,
    "application/vnd.docker.container.image.v1+json": "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
}
TAG = f"test-{os.getpid()}"


@pytest.fixture(scope="module")
def address(docker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as host:
        yield f"{host}/sagemaker-vision"


@pytest.fixture(scope="module")
def pushed(image: Callable[[str], str], address: str) -> Iterator[list[str]]:
    """The output of `make push/inference`: the URI by tag and the URI by digest."""
    with tagged(image("inference"), f"{address}/inference:{TAG}"):
        done = push(address, TAG)
        assert done.returncode == 0, done.stderr
        yield done.stdout.splitlines()


def test_push_prints_two_uris_and_the_uri_by_digest_pulls_the_built_image(
    image: Callable[[str], str], address: str, pushed: list[str]
) -> None:
    by_tag, by_digest = pushed
    assert by_tag == f"{address}/inference:{TAG}"
    assert re.fullmatch(re.escape(f"{address}/inference@sha256:") + "[0-9a-f]{64}", by_digest)
    subprocess.run(["docker", "pull", "--quiet", by_digest], capture_output=True, check=True, timeout=120)
    assert inspect(by_digest)["Id"] == inspect(image("inference"))["Id"]


def test_the_registry_holds_the_manifest_format_that_sagemaker_accepts(address: str, pushed: list[str]) -> None:
    digest = pushed[1].partition("@")[2]
    assert json.loads(manifest(address, digest))["mediaType"] == DOCKER_MANIFEST
    with contextlib.closing(Registry(address)) as connected:
        connected.check_manifest("inference", TAG, digest)


def test_an_oci_manifest_is_rejected_with_the_build_command(address: str, pushed: list[str]) -> None:
    text = manifest(address, pushed[1].partition("@")[2]).decode()
    for docker, oci in TO_OCI.items():
        text = text.replace(docker, oci)
    request = urllib.request.Request(
        url(address, "oci"), text.encode(), headers={"Content-Type": OCI_MANIFEST}, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        digest = response.headers["Docker-Content-Digest"]
    with contextlib.closing(Registry(address)) as connected, pytest.raises(CommandFailed) as refused:
        connected.check_manifest("inference", "oci", digest)
    assert str(refused.value).startswith(
        f"{address}/inference:oci is an OCI manifest ({OCI_MANIFEST}) in the registry, but SageMaker accepts "
        f"only {DOCKER_MANIFEST}: build it with `make build/inference REGISTRY={address} TAG=oci`"
    )


def test_a_tag_whose_digest_is_not_the_pushed_one_is_reported(address: str, pushed: list[str]) -> None:
    other_digest = f"sha256:{'0' * 64}"
    with (
        contextlib.closing(Registry(address)) as connected,
        pytest.raises(CommandFailed, match="another push has replaced it"),
    ):
        connected.check_manifest("inference", TAG, other_digest)


def test_a_registry_that_needs_a_login_gives_the_login_command(image: Callable[[str], str], tmp_path: Path) -> None:
    authentication = f"auth: {{htpasswd: {{realm: vision, path: {tmp_path}/htpasswd}}}}"
    with registry(tmp_path, authentication) as host, tagged(image("inference"), f"{host}/vision/inference:{TAG}"):
        done = push(f"{host}/vision", TAG)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"push: REGISTRY={host}/vision requires a login: run `docker login {host}`, then push "
    )


def test_a_registry_that_is_not_running_is_reported(image: Callable[[str], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # nothing listens on this port after the block
    address = f"127.0.0.1:{port}/vision"
    with tagged(image("inference"), f"{address}/inference:{TAG}"):
        done = push(address, TAG)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"push: REGISTRY={address} does not respond to the Docker engine: check host, port and "
    )


def test_a_missing_image_is_reported_with_the_build_command(address: str) -> None:
    done = subprocess.run(
        ["make", "push/object-detection", f"REGISTRY={address}", f"TAG={TAG}", "VARIANT=cpu"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"push: the image {address}/object-detection:{TAG} is not on this machine: build it with "
        f"`make build/object-detection REGISTRY={address} TAG={TAG}`"
    )


def url(address: str, reference: str) -> str:
    host, _, path = address.partition("/")
    return f"http://{host}/v2/{path}/inference/manifests/{reference}"


def manifest(address: str, reference: str) -> bytes:
    """Return the manifest as stored in the registry."""
    request = urllib.request.Request(url(address, reference), headers={"Accept": DOCKER_MANIFEST})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read()
