"""What the programs `train` and `serve` make of their arguments: settings are not among them, and none is swallowed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

PROGRAMS = pytest.mark.parametrize("program", ["train", "serve"])


def call(program: str, *arguments: str, base: Path) -> subprocess.CompletedProcess[str]:
    """`python -m PROGRAM ARGUMENTS` on a folder that holds neither data nor a model."""
    environ = os.environ | {"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


@PROGRAMS
@pytest.mark.parametrize("arguments", [("--help",), ("-h",)])
def test_help_is_printed_and_nothing_is_started(program: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = call(program, *arguments, base=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {program}")
    assert list(tmp_path.iterdir()) == []


@PROGRAMS
@pytest.mark.parametrize("arguments", [("--port", "80"), ("epochs=3",), ("{program}", "--epochs=3")])
def test_an_argument_that_means_nothing_is_refused_by_name(
    program: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    given = [argument.format(program=program) for argument in arguments]
    done = call(program, *given, base=tmp_path)
    wrong = next(argument for argument in given if argument != program)
    assert done.returncode == 2
    assert f"{program}: error: {wrong!r} is not an argument of {program}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_platforms_own_word_is_taken_where_an_image_made_from_ours_has_an_entrypoint(tmp_path: Path) -> None:
    """`docker run IMAGE serve` is `serve serve` there; here the server gets as far as its model."""
    done = call("serve", "serve", base=tmp_path)
    assert done.returncode == 1
    assert f"serve: {tmp_path / 'model' / 'model.json'} is missing" in done.stderr


@PROGRAMS
def test_the_images_wrappers_pass_their_arguments_on(program: str) -> None:
    *_, last = (REPOSITORY / "containers" / "bin" / program).read_text().splitlines()
    assert last.endswith(f'-m {program} "$@"')
