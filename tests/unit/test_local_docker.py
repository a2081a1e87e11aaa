"""The checks of the Docker engine before local mode starts. tests/local_mode checks what it removes."""

import os
import socket
from pathlib import Path

import pytest

from local.sagemaker import docker

ENGINE_ERRORS = {
    "absent image": (
        "Error response from daemon: No such image: vision/pets:dev",
        "the image vision/pets:dev is not on this machine: run `make build/pets` or `docker pull vision/pets:dev`",
    ),
    "no engine": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "cannot connect to Docker: start the engine, or set DOCKER_HOST; Docker reported: Cannot connect",
    ),
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, text: str = "") -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_without_docker_the_error_says_what_to_install(path: Path) -> None:
    with pytest.raises(docker.DockerError, match=r"docker is not on PATH: install Docker"):
        docker.check("vision/pets:dev")


def test_without_pgrep_the_error_says_what_to_install(path: Path) -> None:
    program(path / "docker")
    with pytest.raises(docker.DockerError, match=r"pgrep is not on PATH: install procps"):
        docker.check("vision/pets:dev")


@pytest.mark.parametrize("case", ENGINE_ERRORS)
def test_errors_of_the_engine_are_reported_with_a_fix(path: Path, case: str) -> None:
    error, message = ENGINE_ERRORS[case]
    program(path / "docker", f"echo '{error}' >&2; exit 1")
    program(path / "pgrep")
    with pytest.raises(docker.DockerError) as failed:
        docker.check("vision/pets:dev")
    assert str(failed.value).startswith(message)


def test_a_port_in_use_is_reported_with_the_option_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(docker.DockerError, match=f"port {port} cannot be used .* --port"):
            docker.check_port(port)
    docker.check_port(port)


@pytest.mark.parametrize("kept", [[], ["model.tar.gz"]])
def test_a_workspace_is_removed_if_its_block_raises_with_its_folder_if_that_was_new(
    path: Path, tmp_path: Path, kept: list[str]
) -> None:
    program(path / "docker", f'echo "$@" >> {os.fspath(tmp_path / "calls")}; [ "$1" = ps ]')
    parent = tmp_path / "out"
    if kept:
        parent.mkdir()
        (parent / kept[0]).touch()

    def fail() -> None:
        with docker.workspace(parent, "vision/pets:dev") as root:
            (root / "model").mkdir()
            raise ValueError("raised in the block")

    with pytest.raises(ValueError, match="raised in the block"):
        fail()
    assert parent.exists() == bool(kept)
    assert [file.name for file in parent.glob("*")] == kept
    assert (tmp_path / "calls").read_text().startswith("ps --all")
