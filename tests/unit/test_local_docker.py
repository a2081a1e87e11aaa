"""The Docker engine under local mode: what is checked before anything starts. What it removes: tests/local_mode."""

import os
import socket
from pathlib import Path

import pytest

from local.sagemaker import docker

ENGINE_SAYS = {
    "absent image": (
        "Error response from daemon: No such image: vision/pets:dev",
        "the image vision/pets:dev is not on this machine: run `make build/pets` or `docker pull vision/pets:dev`",
    ),
    "no engine": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "no Docker engine answers: start it, or set DOCKER_HOST; docker said: Cannot connect",
    ),
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, text: str = "") -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_machine_without_docker_is_told_what_to_install(path: Path) -> None:
    with pytest.raises(docker.DockerError, match=r"docker is not on PATH: .* install Docker"):
        docker.check("vision/pets:dev")


def test_a_machine_without_pgrep_is_told_what_to_install(path: Path) -> None:
    program(path / "docker")
    with pytest.raises(docker.DockerError, match=r"pgrep is not on PATH: .* install procps"):
        docker.check("vision/pets:dev")


@pytest.mark.parametrize("case", ENGINE_SAYS)
def test_what_the_engine_says_becomes_what_to_do(path: Path, case: str) -> None:
    said, told = ENGINE_SAYS[case]
    program(path / "docker", f"echo '{said}' >&2; exit 1")
    program(path / "pgrep")
    with pytest.raises(docker.DockerError) as failed:
        docker.check("vision/pets:dev")
    assert str(failed.value).startswith(told)


def test_a_port_that_is_in_use_is_named_with_the_option_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(docker.DockerError, match=f"port {port} cannot be used .* --port"):
            docker.check_port(port)
    docker.check_port(port)


def test_a_workspace_is_removed_when_its_block_fails(path: Path, tmp_path: Path) -> None:
    program(path / "docker", f'echo "$@" >> {os.fspath(tmp_path / "calls")}; [ "$1" = ps ]')
    parent = tmp_path / "out"

    def fail() -> None:
        with docker.workspace(parent, "vision/pets:dev") as root:
            (root / "model").mkdir()
            raise ValueError("the block's own")

    with pytest.raises(ValueError, match="the block's own"):
        fail()
    assert list(parent.iterdir()) == []
    assert (tmp_path / "calls").read_text().startswith("ps --all")
