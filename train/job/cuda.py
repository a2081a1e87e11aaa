"""NVIDIA's driver library: what it says of the GPUs of this machine, and what to load where it is missing."""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = "libcuda.so.1"
STAND_IN = Path(sys.prefix) / "lib" / "no-driver" / DRIVER
"""Made from containers/mxnet/gpu/libcuda.c, in the images that need it and nowhere else."""
# CUdevice_attribute in cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, such as `NVIDIA A10G`, and its compute capability, such as (8, 6)."""

    name: str
    capability: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.capability[0]}.{self.capability[1]}"


def load_stand_in() -> None:
    """Load a library in place of the driver where there is none: MXNet for GPUs cannot be imported without one.

    It answers that there is no device. A driver that cannot be loaded is not replaced: the import says what is wrong.
    """
    if not STAND_IN.exists():
        return
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        if str(error).startswith(f"{DRIVER}: cannot open shared object file"):
            ctypes.CDLL(str(STAND_IN))
            os.environ.setdefault("MXNET_CUDA_LIB_CHECKING", "0")  # MXNet would ask for a driver to be installed


def gpus() -> list[Gpu]:
    """Return the GPUs in the order of CUDA's numbers; none where there is no driver."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return []
    return list_gpus(driver)


def list_gpus(driver: Any) -> list[Gpu]:
    """Return the GPUs that a driver knows: a ctypes library, or a stand-in; none when it does not start."""
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    return [_gpu(driver, number) for number in range(count.value)]


def _gpu(driver: Any, number: int) -> Gpu:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), number)
    driver.cuDeviceGetName(name, len(name), device)
    major, minor = (_attribute(driver, which, device) for which in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR))
    return Gpu(name.value.decode(errors="replace"), (major, minor))


def _attribute(driver: Any, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), which, device)
    return value.value
