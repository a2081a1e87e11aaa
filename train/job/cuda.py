"""NVIDIA's driver library: list this machine's GPUs, and load a stand-in if the driver is missing."""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = "libcuda.so.1"
STAND_IN = Path(sys.prefix) / "lib" / "no-driver" / DRIVER
"""Built from containers/mxnet/gpu/libcuda.c. It exists only in the images that need it."""
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
    """Load a stand-in if there is no driver, because MXNet for GPUs cannot be imported without one.

    The stand-in reports that there is no device. A driver that exists but cannot be loaded is not replaced, so that the
    import fails with the reason.
    """
    if not STAND_IN.exists():
        return
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        if str(error).startswith(f"{DRIVER}: cannot open shared object file"):
            ctypes.CDLL(str(STAND_IN))
            os.environ.setdefault("MXNET_CUDA_LIB_CHECKING", "0")  # suppresses MXNet's advice to install a driver


def gpus() -> list[Gpu]:
    """Return the GPUs by CUDA device number, or an empty list if there is no driver."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return []
    return list_gpus(driver)


def list_gpus(driver: Any) -> list[Gpu]:
    """Return the GPUs that `driver`, a ctypes library, reports, or an empty list if it does not initialise."""
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
