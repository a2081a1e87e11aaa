"""`make test`: one pytest session reports the tests of several make targets. Tested with a generated Makefile."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

MAKEFILE = """
TEST = cd {repository} && {python} -m tests -p no:cacheprovider -c /dev/null --rootdir {folder}
passing:; @$(TEST) {folder}/test_passing.py $(ARGS)
mixed:; @$(TEST) {folder}/test_mixed.py $(ARGS)
waiting:; @$(TEST) {folder}/test_waiting.py $(ARGS)
misused:; @$(TEST) --no-such-option $(ARGS)
broken:; @$(TEST) {folder}/test_broken.py {folder}/test_passing.py $(ARGS)
building:; @echo "a compiler error"; exit 3
"""
MIXED = """
import pytest
@pytest.fixture
def broken(): raise ValueError("in a fixture")
def test_true(): pass
def test_wrong(): assert [1, 2] == [1, 3]
def test_skipped(): pytest.skip("the reason")
def test_broken(broken): pass
"""
WAITING = """
import pathlib, signal, pytest
@pytest.fixture
def resource():
    yield
    pathlib.Path({folder!r}, "torn-down").touch()
def test_waits(resource):
    with open({started!r}, "w") as started:
        started.write("waiting")
    signal.pause()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile and the test files of its targets."""
    text = MAKEFILE.format(repository=REPOSITORY, python=sys.executable, folder=tmp_path)
    (tmp_path / "Makefile").write_text(text)
    (tmp_path / "test_passing.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    (tmp_path / "test_mixed.py").write_text(MIXED)
    (tmp_path / "test_broken.py").write_text("import a_module_that_is_not_there\n")
    return tmp_path


def start(project: Path, *lanes: str, options: str = "") -> "subprocess.Popen[str]":
    base_options = ["-p", "no:cacheprovider", "-p", "tests.everything", "-c", "/dev/null", "--rootdir", project, "-ra"]
    return subprocess.Popen(
        [sys.executable, "-m", "tests", *base_options, *(f"--lane={lane}" for lane in lanes), f"--pass={options}"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_last_line_counts_the_tests_of_every_target(project: Path) -> None:
    process = start(project, "passing,passing", "mixed")
    lines = process.communicate(timeout=120)[0].splitlines()
    assert "1 failed, 5 passed, 1 skipped, 1 error in" in lines[-1]
    assert process.returncode == pytest.ExitCode.TESTS_FAILED
    assert "make passing: 2 passed in" in "\n".join(lines)


def test_failures_are_shown_with_their_reasons(project: Path) -> None:
    shown = start(project, "mixed").communicate(timeout=120)[0]
    assert "assert [1, 2] == [1, 3]" in shown, shown
    assert "E   ValueError: in a fixture" in shown
    assert "the reason" in shown


def test_a_file_that_cannot_be_imported_is_an_error(project: Path) -> None:
    process = start(project, "broken,passing")
    shown = process.communicate(timeout=120)[0]
    assert "No module named 'a_module_that_is_not_there'" in shown
    assert "1 failed, 2 passed, 1 error in" in shown.splitlines()[-1], "its target failed, too"
    assert process.returncode == pytest.ExitCode.TESTS_FAILED


def test_options_for_pytest_reach_every_target(project: Path) -> None:
    shown = start(project, "passing", "mixed", options="-k test_two").communicate(timeout=120)[0]
    assert shown.splitlines()[-1].strip("= ").startswith("1 passed in")


def test_it_succeeds_when_every_test_passes(project: Path) -> None:
    process = start(project, "passing")
    shown = process.communicate(timeout=120)[0]
    assert process.returncode == pytest.ExitCode.OK, shown


@pytest.mark.parametrize(
    ("target", "message"), [("building", "a compiler error"), ("misused", "unrecognized arguments: --no-such-option")]
)
def test_a_target_that_fails_without_a_failed_test_counts_as_a_failure_and_its_lane_continues(
    project: Path, target: str, message: str
) -> None:
    process = start(project, f"{target},passing")
    shown = process.communicate(timeout=120)[0]
    assert message in shown
    assert "1 failed, 2 passed in" in shown.splitlines()[-1]
    assert process.returncode == pytest.ExitCode.TESTS_FAILED


def test_ctrl_c_tears_down_the_fixtures_of_every_target(project: Path) -> None:
    started = project / "started"
    os.mkfifo(started)
    (project / "test_waiting.py").write_text(WAITING.format(folder=str(project), started=str(started)))
    process = start(project, "waiting,passing", "passing")
    assert started.read_text() == "waiting"
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=120)[0]
    assert process.returncode == pytest.ExitCode.INTERRUPTED, shown
    assert (project / "torn-down").exists()
