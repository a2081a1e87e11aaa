"""`python3 -m local build`: the call to Docker, its output, and what is rejected. tests/images tests real builds."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import serve
from local import __main__ as program
from local.commands import build
from local.images import IMAGES, VARIANTS
from tests.environments import REPOSITORY
from train.weights import keras_files, pretrained


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return `docker(script)`, which installs a fake `docker` that appends its arguments to the returned file."""
    calls = tmp_path / "calls"

    def install(script: str = "") -> Path:
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {calls}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return calls

    return install


def run(name: str, *options: str) -> int:
    """Run `build NAME` with the defaults of `make build/NAME`."""
    defaults = {"registry": "vision", "tag": "dev", "platform": "linux/amd64", "base-image": "python:3", "source": ""}
    return program.main(["build", name, *(f"--{option}={value}" for option, value in defaults.items()), *options])


def git(*arguments: str) -> str:
    """Return the output of a git command in this repository."""
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", IMAGES)
def test_docker_gets_the_dockerfile_and_all_build_arguments(
    name: str, variant: str, docker: Callable[..., Path]
) -> None:
    calls = docker()
    options = ("--registry=host:5000/vision", "--tag=1.2", "--source=https://example.org/code", f"--variant={variant}")
    assert run(name, *options) == 0
    arguments = calls.read_text().splitlines()
    assert arguments[:3] == ["buildx", "build", str(REPOSITORY)]
    assert arguments[arguments.index("--file") + 1] == str(
        REPOSITORY / "containers" / IMAGES[name].stack / "Dockerfile"
    )
    build_args = dict(
        word.removeprefix("--build-arg=").split("=", 1) for word in arguments if word.startswith("--build-arg=")
    )
    suffix = "-dirty" if git("status", "--porcelain") else ""
    assert build_args.pop("REVISION") == git("rev-parse", "HEAD") + suffix
    assert build_args.pop("CREATED") == git("show", "-s", "--format=%cI")
    assert build_args == {
        "NAME": name,
        "BASE_IMAGE": "python:3",
        "INFERENCE_IMAGE": "host:5000/vision/inference:1.2",
        "VERSION": serve.__version__,
        "VARIANT": variant,
        "LOCK": IMAGES[name].lock(variant).relative_to(REPOSITORY).as_posix(),
        "SOURCE": "https://example.org/code",
    }


@pytest.mark.parametrize(
    ("name", "reference"),
    [("inference", "vision/inference:dev"), ("object-detection", "vision/object-detection:dev-gpu")],
)
def test_gpu_images_have_their_own_tag_except_inference(
    name: str, reference: str, docker: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = docker()
    assert run(name, "--variant=gpu") == 0
    assert f"type=image,name={reference},oci-mediatypes=false" in calls.read_text().splitlines()
    assert f"==> built {reference} in " in capsys.readouterr().out


def test_images_have_the_format_that_sagemaker_accepts(docker: Callable[..., Path]) -> None:
    calls = docker()
    run("inference")
    arguments = calls.read_text().splitlines()
    assert {"--provenance=false", "--sbom=false"} < set(arguments)
    assert arguments[arguments.index("--output") + 1] == "type=image,name=vision/inference:dev,oci-mediatypes=false"


def test_the_last_line_has_the_time_and_the_size(
    docker: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    docker('test "$1" != image || echo 123456789')
    assert run("inference") == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == "==> building vision/inference:dev (2 min without a cache, seconds with one)"
    assert re.fullmatch(r"==> built vision/inference:dev in \d+ s, 123 MB", last)


def test_the_size_is_left_out_if_the_builder_does_not_load_the_image(
    docker: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    docker('test "$1" != image || { echo "No such image" >&2; exit 1; }')
    assert run("inference") == 0
    assert re.search(r"\n==> built vision/inference:dev in \d+ s\n$", capsys.readouterr().out)


def test_without_docker_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run("inference") == 2
    assert capsys.readouterr().err == "build: docker is not on PATH: install Docker\n"


def test_weights_have_the_suffixes_that_training_reads() -> None:
    assert (*pretrained.TORCHVISION.suffixes, *keras_files.SUFFIXES) == build.WEIGHTS


def test_build_needs_only_the_standard_library(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('local', run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-c", code, REPOSITORY, "build", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python3 -m local build ")
