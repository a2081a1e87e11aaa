"""The rule for skips, tried on test files of its own, and the fixtures that run a body elsewhere."""

import sys
from pathlib import Path

import pytest

from tests import environments
from tests.conftest import NO_PETS

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
def test_skipped_container_test_fails_where_docker_is_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    monkeypatch.setenv("VISION_REQUIRE_DOCKER", "1")
    counts = outcomes(pytester, layer, "no Docker engine answers")
    assert counts.get("skipped", 0) == 0
    assert counts.get("failed", 0) + counts.get("errors", 0) == 3


def test_skipped_container_test_is_skipped_elsewhere(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISION_REQUIRE_DOCKER", raising=False)
    assert outcomes(pytester, "images", "no Docker engine answers") == {"skipped": 3}


@pytest.mark.parametrize(("layer", "reason"), [("images", NO_PETS), ("unit", "any reason")])
def test_missing_real_images_and_other_layers_may_skip_where_docker_is_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, layer: str, reason: str
) -> None:
    monkeypatch.setenv("VISION_REQUIRE_DOCKER", "1")
    assert outcomes(pytester, layer, reason) == {"skipped": 3}


def answering(path: str, number: int) -> dict[str, object]:
    print("noise of a framework")
    return {"prefix": sys.prefix, "path": path, "number": number}


def failing() -> None:
    raise ValueError("the reason in the framework")


def test_body_runs_in_the_named_environment_with_its_arguments() -> None:
    answer = environments.run_in("dev", answering, Path("a/b"), 7)
    assert answer["prefix"] == str(environments.REPOSITORY / ".venvs" / "dev")
    assert (answer["path"], answer["number"]) == ("a/b", 7)


def test_failing_body_fails_the_test_with_its_own_words() -> None:
    with pytest.raises(pytest.fail.Exception, match="the reason in the framework"):
        environments.run_in("dev", failing)
