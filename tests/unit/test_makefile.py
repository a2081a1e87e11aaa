"""What `make` promises before it does any work, and what it asks of a machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

TARGETS = [
    *("demo", "demo/NAME", "test", "test/unit", "test/framework", "test/images", "test/local-mode", "lint", "fmt"),
    *(
        "build",
        "build/NAME",
        "push",
        "push/NAME",
        "sbom",
        "data",
        "train/NAME",
        "serve",
        "local/NAME",
        "bench",
        "clean",
    ),
]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_is_the_default_and_names_every_target() -> None:
    done = make()
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert done.returncode == 0
    assert set(TARGETS) <= listed
    assert done.stdout == make("help").stdout


@pytest.mark.parametrize("verb", ["demo", "train", "local", "build", "push"])
@pytest.mark.parametrize("name", ["semantic-segmentation", "image-classification-tensorflow"])
def test_target_of_an_image_that_is_not_built_yet_says_so_in_one_line(verb: str, name: str) -> None:
    done = make(f"{verb}/{name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"{verb}/{name}: not built yet" in done.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("sbom", "not built yet"),
        ("build/resnet", "there is no image resnet"),
        ("demo/inference", "inference only serves"),
        ("train/image-classification", "BASE_DIR is not set"),
        ("serve", "BASE_DIR is not set"),
    ],
)
def test_target_that_cannot_be_met_says_why_and_ends_with_2(target: str, words: str) -> None:
    done = make("--silent", target)
    assert done.returncode == 2
    assert words in done.stderr


def test_environments_that_are_there_cost_under_two_seconds() -> None:
    if not (REPOSITORY / ".venvs" / "sdk2" / "bin" / "python").exists():
        pytest.skip("not every environment is made: run `make envs`")
    times = []
    for _ in range(3):
        begin = time.monotonic()
        assert make("envs").returncode == 0
        times.append(time.monotonic() - begin)
    assert min(times) < 2


def machine(path: Path) -> subprocess.CompletedProcess[str]:
    bash = next(Path(folder, "bash") for folder in ("/bin", "/usr/bin") if Path(folder, "bash").exists())
    return subprocess.run(
        [bash, REPOSITORY / ".ci" / "machine"], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with nothing on it but `id`."""
    program(tmp_path, "id", "echo 1000")
    return tmp_path


def test_machine_with_nothing_installed_gets_one_line_to_run(bare: Path) -> None:
    done = machine(bare)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Missing here: git make gcc python3-venv python3-dev libgomp1. "
        "Run: sudo apt-get install -y git make gcc python3-dev python3-venv libgomp1\n"
    )


def test_machine_with_everything_names_its_python_3_11(bare: Path) -> None:
    for name in ("git", "make", "gcc"):
        program(bare, name, "exit 0")
    program(bare, "python3.11", f'exec {sys.executable} "$@"')
    done = machine(bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run([done.stdout.strip(), "-V"], capture_output=True, text=True).stdout.startswith("Python 3.11.")


def test_machine_without_a_compiler_is_told_of_that_alone(bare: Path) -> None:
    for name in ("git", "make"):
        program(bare, name, "exit 0")
    program(bare, "python3", f'exec {sys.executable} "$@"')
    done = machine(bare)
    assert done.returncode == 2
    assert done.stderr.startswith("Missing here: gcc. Run: ")


def test_machine_with_another_python_is_told_which_one_is_needed(bare: Path) -> None:
    program(bare, "python3", 'case "$2" in *platform*) echo 3.13.1;; *) exit 1;; esac')
    done = machine(bare)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Python 3.11 is required")
    assert "python3 here is 3.13.1" in done.stderr
