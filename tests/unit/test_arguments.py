"""Command-line arguments of `train` and `serve`: there are none for settings, and unknown ones are rejected."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

PROGRAMS = pytest.mark.parametrize("program", ["train", "serve"])


def call(program: str, *arguments: str, base: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m PROGRAM ARGUMENTS` on a folder that holds neither data nor a model."""
    environ = os.environ | {"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


@PROGRAMS
@pytest.mark.parametrize("arguments", [("--help",), ("-h",)])
def test_help_is_printed_and_nothing_starts(program: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = call(program, *arguments, base=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {program}")
    assert list(tmp_path.iterdir()) == []


@PROGRAMS
@pytest.mark.parametrize("arguments", [("--port", "80"), ("epochs=3",), ("{program}", "--epochs=3")])
def test_unknown_arguments_are_rejected_by_name(program: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    passed = [argument.format(program=program) for argument in arguments]
    done = call(program, *passed, base=tmp_path)
    unknown = next(argument for argument in passed if argument != program)
    assert done.returncode == 2
    assert f"{program}: error: {unknown!r} is not an argument of {program}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_repeated_program_name_is_accepted(tmp_path: Path) -> None:
    """`docker run IMAGE serve` becomes `serve serve` if an image built on ours sets an entrypoint.

    Here the server gets as far as looking for its model.
    """
    done = call("serve", "serve", base=tmp_path)
    assert done.returncode == 1
    assert f"serve: {tmp_path / 'model' / 'model.json'} is missing" in done.stderr


@PROGRAMS
def test_the_wrapper_scripts_in_the_images_pass_their_arguments_on(program: str) -> None:
    *_, last = (REPOSITORY / "containers" / "bin" / program).read_text().splitlines()
    assert last.endswith(f'-m {program} "$@"')
