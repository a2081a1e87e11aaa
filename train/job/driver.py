"""NVIDIA's driver library: MXNet for GPUs is linked against it, and a machine without a GPU does not have it."""

import ctypes
import os
import sys
from pathlib import Path

NAME = "libcuda.so.1"
STAND_IN = Path(sys.prefix) / "lib" / "no-driver" / NAME
"""Made of containers/mxnet/gpu/libcuda.c, in the images that need it and nowhere else."""


def load_stand_in() -> None:
    """Load the library that stands in for a driver where none is, so that MXNet can be imported.

    It says that there is no device. A driver that is there is never hidden; what is wrong with it, the import says.
    """
    if not STAND_IN.exists():
        return
    try:
        ctypes.CDLL(NAME)
    except OSError as error:
        if str(error).startswith(f"{NAME}: cannot open shared object file"):
            ctypes.CDLL(str(STAND_IN))
            os.environ.setdefault("MXNET_CUDA_LIB_CHECKING", "0")  # MXNet would ask for a driver to be installed
