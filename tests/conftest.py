"""What every test shares: which folder runs in which environment, the rule for skips, fixtures. See CONTRIBUTING.md."""

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

# A folder of this name holds tests that run in the environment of this name, every other folder runs in `dev`.
ENVIRONMENTS = {"mxnet", "tensorflow", "serve", "sdk2"}
ENVIRONMENT = Path(sys.prefix).name
CONTAINER_LAYERS = {"images", "local_mode", "sdk2"}
NO_GPU_IMAGE = "no image for GPUs, 5 GB, is built unless someone asks for it"
NO_PETS = "PET_DATA is not set: it names a folder with the real Oxford-IIIT Pet images in the official layout"


# A machine may be busy: how long an example takes says nothing.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


def pytest_configure(config: pytest.Config) -> None:
    """Make every warning an error where no framework is, and Ctrl-C what it is in a terminal.

    A shell starts `make test &` with SIGINT ignored, and what a test starts and then interrupts would inherit that.
    """
    if ENVIRONMENT == "dev":
        for line in ("error", "ignore::DeprecationWarning:sagemaker.*"):
            config.addinivalue_line("filterwarnings", line)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what runs in another environment than this one."""
    parts = collection_path.relative_to(REPOSITORY / "tests").parts if collection_path.is_dir() else ()
    if not parts:
        return None
    return True if (parts[0] if parts[0] in ENVIRONMENTS else "dev") != ENVIRONMENT else None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case that holds a whole file by its argument: bytes such as a zip's tell the time they were made."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where VISION_REQUIRE_DOCKER=1, a container test that was skipped has failed.

    The real photos may still be missing, and images for GPUs.
    """
    report = yield
    # A test of names that are no UTF-8 writes such names, which cannot travel from one process to another.
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
    """moto's server, with what earlier tests have left in it."""
    with aws() as server:
        yield server


@pytest.fixture
def moto(moto_server: Aws) -> str:
    """The address of a moto server with nothing in it, which stands where AWS would."""
    moto_server.reset()
    return moto_server.address


@pytest.fixture(scope="session")
def product() -> Callable[[str], Path]:
    """`product(name)`: the folder that tests/products/NAME.py filled in its environment: to be read, not written."""

    def folder(name: str) -> Path:
        if not (PRODUCTS / name / ".made").exists():
            pytest.fail(f"{PRODUCTS / name} is not there: run `make .tests/products/{name}/.made`", pytrace=False)
        return PRODUCTS / name

    return folder


@pytest.fixture(scope="session")
def pets() -> Path:
    """Folder of the real images, from PET_DATA; skips where that is not set."""
    if not os.environ.get("PET_DATA"):
        pytest.skip(NO_PETS)
    folder = Path(os.environ["PET_DATA"]).resolve()
    assert (folder / "annotations" / "trainval.txt").is_file(), f"PET_DATA={folder} has no annotations/trainval.txt"
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn data set in the official layout: every breed, 6 photos of trainval and 2 of test each."""
    from local.datasets.drawn import draw

    root = tmp_path_factory.mktemp("drawn") / "pets"
    draw.data_set(root, trainval=6, test=2)
    return root


@pytest.fixture(scope="session")
def docker() -> None:
    """Skips where no Docker engine answers."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("the docker command is not installed")
    if done.returncode != 0:
        pytest.skip(f"no Docker engine answers: {done.stderr.strip()}")


@pytest.fixture(scope="session")
def image(docker: None) -> Callable[[str], str]:
    """`image(name)`: the reference of a built image, by the names that the Makefile gives (REGISTRY, TAG, VARIANT)."""
    return functools.partial(_built, os.environ.get("VARIANT", "cpu"))


@pytest.fixture(scope="session")
def cpu_image(docker: None) -> Callable[[str], str]:
    """`cpu_image(name)`: the same where VARIANT is cpu."""
    return functools.partial(_built, "cpu")


@pytest.fixture(scope="session")
def gpu_image(docker: None) -> Callable[[str], str]:
    """`gpu_image(name)`: the same where VARIANT is gpu; such an image is there only if someone has built it."""
    return functools.partial(_built, "gpu")


def _built(variant: str, name: str) -> str:
    """The reference of a built image; skips where there is none."""
    reference = images.reference(name, {**os.environ, "VARIANT": variant})
    if subprocess.run(["docker", "image", "inspect", reference], capture_output=True, check=False).returncode != 0:
        why = f"{NO_GPU_IMAGE}: " if reference.endswith("-gpu") else ""
        tag = images.variables(reference.rpartition(":")[2])
        pytest.skip(f"{why}image {reference} is not built: run `make build/{name} {tag}`")
    return reference
