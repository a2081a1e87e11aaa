"""What NVIDIA's driver says of the GPUs of this machine; no framework, and no CUDA toolkit, is needed for that."""

import ctypes
from dataclasses import dataclass
from typing import Any

_DRIVER = "libcuda.so.1"
# CUdevice_attribute in cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, such as `NVIDIA A10G`, and its compute capability, such as (8, 6)."""

    name: str
    capability: tuple[int, int]


def gpus() -> list[Gpu]:
    """Return the GPUs in the order of CUDA's numbers; none where there is no driver."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return []
    return described(driver)


def described(driver: Any) -> list[Gpu]:
    """Return the GPUs that a driver knows: a ctypes library, or what stands in for it; none when it does not start."""
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
