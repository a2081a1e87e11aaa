"""The stand-in for NVIDIA's driver, and when it is loaded, tested with libraries that have the driver's name.

tests/images tests it in the images.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from train.job import cuda

SOURCE = REPOSITORY / "containers" / "mxnet" / "gpu" / "libcuda.c"

Loaded = Callable[..., tuple[set[str], str]]


def compile_library(folder: Path) -> Path:
    """Compile the stand-in library of the images in a new folder."""
    folder.mkdir()
    library = folder / cuda.DRIVER
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{cuda.DRIVER}", "-o", library, SOURCE]
    subprocess.run(command, check=True, timeout=60)
    return library


@pytest.fixture
def loaded() -> Loaded:
    """`loaded(stand_in, driver)` returns the driver's libraries in a process that loads the stand-in if needed."""

    def run(stand_in: Path, driver_folder: Path | None = None) -> tuple[set[str], str]:
        code = (
            "import os, sys; from pathlib import Path; from train.job import cuda; "
            "cuda.STAND_IN = Path(sys.argv[1]); cuda.load_stand_in(); "
            "print(os.environ.get('MXNET_CUDA_LIB_CHECKING', 'unset')); "
            "print(*{line.split()[-1] for line in open('/proc/self/maps') if 'libcuda.so' in line})"
        )
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "LD_LIBRARY_PATH": str(driver_folder or "")}
        result = subprocess.run(
            [sys.executable, "-c", code, stand_in], env=environment, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stderr
        checking, libraries, *_ = [*result.stdout.splitlines(), ""]
        return set(libraries.split()), checking

    return run


@pytest.fixture
def no_driver() -> None:
    """Skip the test if this machine has a driver."""
    try:
        ctypes.CDLL(cuda.DRIVER)
    except OSError:
        return
    pytest.skip("this machine has NVIDIA's driver")


def test_without_a_driver_the_stand_in_is_loaded_and_mxnet_requires_none(
    tmp_path: Path, no_driver: None, loaded: Loaded
) -> None:
    stand_in = compile_library(tmp_path / "stand-in")
    assert loaded(stand_in) == ({str(stand_in)}, "0")


def test_the_stand_in_is_not_loaded_if_there_is_a_driver(tmp_path: Path, loaded: Loaded) -> None:
    stand_in, real = compile_library(tmp_path / "stand-in"), compile_library(tmp_path / "driver")
    assert loaded(stand_in, real.parent) == ({str(real)}, "unset")


def test_the_stand_in_does_not_hide_a_driver_that_cannot_be_loaded(
    tmp_path: Path, no_driver: None, loaded: Loaded
) -> None:
    stand_in, broken = compile_library(tmp_path / "stand-in"), tmp_path / "driver" / cuda.DRIVER
    broken.parent.mkdir()
    broken.touch()
    assert loaded(stand_in, broken.parent) == (set(), "unset")


def test_an_image_without_the_stand_in_loads_no_driver(tmp_path: Path, loaded: Loaded) -> None:
    real = compile_library(tmp_path / "driver")
    assert loaded(tmp_path / "nothing", real.parent) == (set(), "unset")


def test_every_function_of_the_stand_in_reports_that_there_is_no_device(tmp_path: Path) -> None:
    functions = [line[len("NO_DEVICE(") : -1] for line in SOURCE.read_text().splitlines() if line.startswith("NO_D")]
    assert len(functions) == 11
    assert "cuInit" in functions, "it is the first function that programs call to find GPUs"
    # In another process, because the library would stay loaded in this one under the driver's name.
    code = "import ctypes, sys; print({ctypes.CDLL(sys.argv[1])[name](0, 0, 0) for name in sys.argv[2:]})"
    command = [sys.executable, "-c", code, compile_library(tmp_path / "stand-in"), *functions]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "{100}\n"
