"""The thread variables, set before NumPy and the frameworks are imported; standard library only.

MXNet takes half of the processors it sees, TensorFlow all; and both see the machine's instead of the container's.
"""

import os
from collections.abc import MutableMapping

from serve.machine import cpu_count

# Read by OpenMP (MXNet's operators), OpenBLAS, MKL and TensorFlow when they are loaded.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def set_threads(environ: MutableMapping[str, str] = os.environ) -> str:
    """Set the thread variables that the user has not set, and return the sentence to print about it."""
    count = cpu_count()
    given = {name: environ[name] for name in VARIABLES if name in environ}
    for name in VARIABLES:
        environ.setdefault(name, str(count))
    told = f" (from the environment: {given})" if given else ""
    return f"Processors: {count} of {os.cpu_count()} may be used; OMP_NUM_THREADS={environ['OMP_NUM_THREADS']}{told}"
