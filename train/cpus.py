"""How many processors this process may use; imported before NumPy and the frameworks, so standard library only."""

import math
import os
from pathlib import Path

# Read by OpenMP (MXNet's operators), OpenBLAS and MKL when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the processors that the cgroup quota allows (rounded up), at most those of the affinity mask; at least 1.

    `docker run --cpus 1.5` sets a quota that `os.cpu_count` does not see: cgroup v2 writes `cpu.max` as
    "quota period" or "max period", v1 two files of microseconds.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()[:2]
        else:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None  # no cgroup here, or one in a form we do not know: the affinity mask is what is left


def set_threads(environ: dict[str, str] | os._Environ[str] = os.environ) -> str:
    """Set the thread variables that the user has not set, and return the sentence to print about it."""
    count = available()
    given = {name: environ[name] for name in THREAD_VARIABLES if name in environ}
    for name in THREAD_VARIABLES:
        environ.setdefault(name, str(count))
    told = f" (from the environment: {given})" if given else ""
    return f"Processors: {count} of {os.cpu_count()} may be used; OMP_NUM_THREADS={environ['OMP_NUM_THREADS']}{told}"
