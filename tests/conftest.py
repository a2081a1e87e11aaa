"""Shared by all tests: the environment of each folder, the rule for skips, and fixtures. See CONTRIBUTING.md."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from local import images
from tests.aws import Aws, aws
from tests.environments import REPOSITORY
from tests.products import PRODUCTS

pytest_plugins = ["pytester"]

# Tests in a folder with one of these names run in the environment of that name. All other tests run in `dev`.
ENVIRONMENTS = {"mxnet", "tensorflow", "serve", "sdk2"}
ENVIRONMENT = Path(sys.prefix).name
CONTAINER_LAYERS = {"images", "local_mode", "sdk2"}
NO_GPU_IMAGE = "the GPU images (5 GB each) are only built on request"
NO_PETS = "PET_DATA is not set: set it to a folder with the real Oxford-IIIT Pet images in the official layout"


# No deadline, because the duration of an example means nothing on a busy machine.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


def pytest_configure(config: pytest.Config) -> None:
    """Turn warnings into errors in environments without a framework, and restore Ctrl-C.

    A shell starts `make test &` with SIGINT ignored, and the processes that tests interrupt would inherit that.
    """
    if ENVIRONMENT == "dev":
        for line in ("error", "ignore::DeprecationWarning:sagemaker.*"):
            config.addinivalue_line("filterwarnings", line)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Skip folders that run in another environment."""
    parts = collection_path.relative_to(REPOSITORY / "tests").parts if collection_path.is_dir() else ()
    if not parts:
        return None
    return True if (parts[0] if parts[0] in ENVIRONMENTS else "dev") != ENVIRONMENT else None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case with a whole file after its argument, because bytes such as a zip's contain the current time."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn skipped container tests into failures if VISION_REQUIRE_DOCKER=1.

    Tests that need the real photos or GPU images may still be skipped.
    """
    report = yield
    # Tests of file names that are not UTF-8 print them, and xdist cannot send them between processes.
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("VISION_REQUIRE_DOCKER") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        allowed = NO_PETS in reason or NO_GPU_IMAGE in reason
        if CONTAINER_LAYERS & set(item.path.relative_to(item.config.rootpath).parts) and not allowed:
            report.outcome = "failed"
            report.longrepr = f"{reason}\nVISION_REQUIRE_DOCKER=1: a container test must not be skipped"
    return report


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Aws]:
    """moto's server, with the state that earlier tests left."""
    with aws() as server:
        yield server


@pytest.fixture
def moto(moto_server: Aws) -> str:
    """The address of an empty moto server, which stands in for AWS."""
    moto_server.reset()
    return moto_server.address


@pytest.fixture(scope="session")
def product() -> Callable[[str], Path]:
    """`product(name)` returns the folder that tests/products/NAME.py filled in its environment. It is read-only."""

    def folder(name: str) -> Path:
        if not (PRODUCTS / name / ".made").exists():
            pytest.fail(f"{PRODUCTS / name} does not exist: run `make .tests/products/{name}/.made`", pytrace=False)
        return PRODUCTS / name

    return folder


@pytest.fixture(scope="session")
def pets() -> Path:
    """The folder of the real images, from PET_DATA. Skips the test if that is not set."""
    if not os.environ.get("PET_DATA"):
        pytest.skip(NO_PETS)
    folder = Path(os.environ["PET_DATA"]).resolve()
    assert (folder / "annotations" / "trainval.txt").is_file(), f"PET_DATA={folder} has no annotations/trainval.txt"
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn data set in the official layout, with 6 trainval and 2 test photos for each breed."""
    from local.datasets.drawn import draw

    root = tmp_path_factory.mktemp("drawn") / "pets"
    draw.data_set(root, trainval=6, test=2)
    return root


@pytest.fixture(scope="session")
def docker() -> None:
    """Skip the test if no Docker engine is available."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("the docker command is not installed")
    if done.returncode != 0:
        pytest.skip(f"no Docker engine is available: {done.stderr.strip()}")


@pytest.fixture(scope="session")
def image(docker: None) -> Callable[[str], str]:
    """`image(name)` returns the reference of a built image, as the Makefile names it (REGISTRY, TAG, VARIANT)."""
    return functools.partial(_built, os.environ.get("VARIANT", "cpu"))


@pytest.fixture(scope="session")
def cpu_image(docker: None) -> Callable[[str], str]:
    """`cpu_image(name)` does the same for VARIANT=cpu."""
    return functools.partial(_built, "cpu")


@pytest.fixture(scope="session")
def gpu_image(docker: None) -> Callable[[str], str]:
    """`gpu_image(name)` does the same for VARIANT=gpu. GPU images exist only if someone has built them."""
    return functools.partial(_built, "gpu")


def _built(variant: str, name: str) -> str:
    """Return the reference of a built image, or skip the test if it does not exist."""
    reference = images.reference(name, {**os.environ, "VARIANT": variant})
    if subprocess.run(["docker", "image", "inspect", reference], capture_output=True, check=False).returncode != 0:
        reason = f"{NO_GPU_IMAGE}: " if reference.endswith("-gpu") else ""
        tag = images.variables(reference.rpartition(":")[2])
        pytest.skip(f"{reason}image {reference} is not built: run `make build/{name} {tag}`")
    return reference
