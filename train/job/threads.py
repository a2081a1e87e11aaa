"""Set the numbers of threads. Must run before NumPy and the frameworks are imported, so it imports neither.

By default, MXNet uses half of the processors and TensorFlow uses all of them, and both count the processors of the
machine, not of the container.
"""

import os
from collections.abc import MutableMapping

from serve.machine import cpu_count

# OpenMP (MXNet's operators), OpenBLAS, MKL and TensorFlow read these variables when they are loaded.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def set_threads(environ: MutableMapping[str, str] = os.environ) -> str:
    """Set the thread variables that the user did not set, and return a message for the log."""
    count = cpu_count()
    user_set = {name: environ[name] for name in VARIABLES if name in environ}
    for name in VARIABLES:
        environ.setdefault(name, str(count))
    source = f" (from the environment: {user_set})" if user_set else ""
    return f"Processors: {count} of {os.cpu_count()} may be used; OMP_NUM_THREADS={environ['OMP_NUM_THREADS']}{source}"
