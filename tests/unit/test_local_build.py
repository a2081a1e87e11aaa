"""What builds an image: the call of Docker, what it prints, and what it refuses. Real builds: tests/images."""

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
    """`docker(script)`: a program in Docker's place, which appends its arguments to the file that is returned."""
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
    """`make build/NAME` with its defaults."""
    defaults = {"registry": "vision", "tag": "dev", "platform": "linux/amd64", "base-image": "python:3", "source": ""}
    return program.main(["build", name, *(f"--{option}={value}" for option, value in defaults.items()), *options])


def git(*arguments: str) -> str:
    """What git says of this tree."""
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", IMAGES)
def test_docker_is_given_the_images_dockerfile_its_name_its_lock_and_what_its_labels_say(
    name: str, variant: str, docker: Callable[..., Path]
) -> None:
    calls = docker()
    options = ("--registry=host:5000/vision", "--tag=1.2", "--source=https://example.org/code", f"--variant={variant}")
    assert run(name, *options) == 0
    words = calls.read_text().splitlines()
    assert words[:3] == ["buildx", "build", str(REPOSITORY)]
    assert words[words.index("--file") + 1] == str(REPOSITORY / "containers" / IMAGES[name].stack / "Dockerfile")
    given = dict(word.removeprefix("--build-arg=").split("=", 1) for word in words if word.startswith("--build-arg="))
    changed = "-dirty" if git("status", "--porcelain") else ""
    assert given.pop("REVISION") == git("rev-parse", "HEAD") + changed
    assert given.pop("CREATED") == git("show", "-s", "--format=%cI")
    assert given == {
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
def test_an_image_for_gpus_has_a_tag_of_its_own_and_inference_is_the_same_in_both(
    name: str, reference: str, docker: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = docker()
    assert run(name, "--variant=gpu") == 0
    assert f"type=image,name={reference},oci-mediatypes=false" in calls.read_text().splitlines()
    assert f"==> {reference} is built in " in capsys.readouterr().out


def test_an_image_has_the_form_that_sagemaker_takes(docker: Callable[..., Path]) -> None:
    calls = docker()
    run("inference")
    words = calls.read_text().splitlines()
    assert {"--provenance=false", "--sbom=false"} < set(words)
    assert words[words.index("--output") + 1] == "type=image,name=vision/inference:dev,oci-mediatypes=false"


def test_the_last_line_has_the_time_and_the_size(
    docker: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    docker('test "$1" != image || echo 123456789')
    assert run("inference") == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == "==> building vision/inference:dev (2 min without a cache, seconds with)"
    assert re.fullmatch(r"==> vision/inference:dev is built in \d+ s, 123 MB", last)


def test_a_builder_that_keeps_its_images_to_itself_has_no_size_to_tell(
    docker: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    docker('test "$1" != image || { echo "No such image" >&2; exit 1; }')
    assert run("inference") == 0
    assert re.search(r"\n==> vision/inference:dev is built in \d+ s\n$", capsys.readouterr().out)


def test_a_machine_without_docker_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run("inference") == 2
    assert capsys.readouterr().err == "build: docker is not on PATH: install Docker\n"


def test_the_suffixes_of_weights_are_those_that_training_reads() -> None:
    assert (*pretrained.TORCHVISION.suffixes, *keras_files.SUFFIXES) == build.WEIGHTS


def test_a_machine_builds_images_with_python_alone(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('local', run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-c", code, REPOSITORY, "build", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python3 -m local build ")
