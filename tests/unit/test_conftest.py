"""The rule that turns skips into failures, tested on generated test files, and the process that runs the tests."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.__main__ import TOOLS
from tests.conftest import NO_GPU_IMAGE, NO_PETS
from tests.environments import REPOSITORY

CONFTEST = "from tests.conftest import pytest_runtest_makereport"


def outcomes(pytester: pytest.Pytester, layer: str, reason: str) -> dict[str, int]:
    pytester.makeconftest(CONFTEST)
    folder = pytester.mkdir(layer)
    (folder / "test_skipping.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        f"def needs_engine(): pytest.skip({reason!r})\n"
        "def test_in_fixture(needs_engine): pass\n"
        f"def test_in_body(): pytest.skip({reason!r})\n"
        f"@pytest.mark.skip(reason={reason!r})\n"
        "def test_by_mark(): pass\n"
    )
    return pytester.runpytest_inprocess("-p", "no:cacheprovider").parseoutcomes()


@pytest.mark.parametrize("layer", ["images", "local_mode"])
def test_skipped_container_tests_fail_if_docker_is_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    monkeypatch.setenv("VISION_REQUIRE_DOCKER", "1")
    counts = outcomes(pytester, layer, "no Docker engine answers")
    assert counts.get("skipped", 0) == 0
    assert counts.get("failed", 0) + counts.get("errors", 0) == 3


def test_skipped_container_tests_stay_skipped_if_docker_is_optional(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISION_REQUIRE_DOCKER", raising=False)
    assert outcomes(pytester, "images", "no Docker engine answers") == {"skipped": 3}


@pytest.mark.parametrize(("layer", "reason"), [("images", NO_PETS), ("images", NO_GPU_IMAGE), ("unit", "any reason")])
def test_missing_photos_or_gpu_images_and_other_layers_may_skip_if_docker_is_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, layer: str, reason: str
) -> None:
    monkeypatch.setenv("VISION_REQUIRE_DOCKER", "1")
    assert outcomes(pytester, layer, reason) == {"skipped": 3}


def test_subprocesses_cannot_import_the_packages_of_the_tests() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import pytest"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "No module named 'pytest'" in done.stderr


def test_the_packages_of_the_tests_come_last_on_sys_path() -> None:
    assert sys.path[-1] == str(TOOLS)
    assert Path(pytest.__file__).is_relative_to(TOOLS)


def test_sigint_has_its_default_handler() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigint_has_its_default_handler_in_a_background_job() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests", "-p", "no:cacheprovider", f"{__file__}::test_sigint_has_its_default_handler"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
