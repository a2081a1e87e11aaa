"""The CPUs and memory that this container may use, within the limits of its cgroup."""

import ctypes
import gc
import math
import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
CPUINFO = Path("/proc/cpuinfo")

_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_count(cgroup: Path = CGROUP) -> int:
    """Return the number of usable CPUs, at least 1: the affinity mask, limited by the cgroup's quota (rounded up).

    The quota is in cpu.max ("QUOTA PERIOD" or "max PERIOD") with cgroup v2, and in cpu/cpu.cfs_quota_us and
    cpu/cpu.cfs_period_us with v1.
    """
    visible = len(os.sched_getaffinity(0))
    quota = _words(cgroup / "cpu.max") or (
        _words(cgroup / "cpu/cpu.cfs_quota_us") + _words(cgroup / "cpu/cpu.cfs_period_us")
    )
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
        visible = min(visible, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, visible)


def memory_bytes(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Return the bytes of usable memory: the machine's, up to the cgroup's limit (v2 memory.max, v1 limit_in_bytes)."""
    total = _of_meminfo("MemTotal", meminfo)
    limit = _limit(cgroup)
    return total if limit is None else min(total, limit)


def free_memory_bytes(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Return the bytes of memory that are free now: the smaller of what the machine and the cgroup have left.

    Memory that the cgroup uses as page cache counts as free, because the kernel can reclaim it. The cache includes
    tmpfs (shmem), which cannot be reclaimed, so that part counts as used.
    """
    available = _of_meminfo("MemAvailable", meminfo)
    limit, used = _limit(cgroup), _words(cgroup / "memory.current") or _words(cgroup / "memory/memory.usage_in_bytes")
    if limit is None or not used:
        return available
    if stat := _table(cgroup / "memory.stat"):
        cached = stat["file"] - stat["shmem"]
    else:  # v1: the names without total_ do not include child cgroups
        stat = _table(cgroup / "memory/memory.stat")
        cached = stat.get("total_cache", 0) - stat.get("total_shmem", 0)
    return max(0, min(available, limit - (int(used[0]) - cached)))


def oom_kills(cgroup: Path = CGROUP) -> int | None:
    """Return how many processes of the cgroup the kernel has killed for lack of memory; None if it does not count them.

    The count is oom_kill in memory.events with cgroup v2, and in memory/memory.oom_control with v1 (Linux 4.13).
    """
    events = _table(cgroup / "memory.events") or _table(cgroup / "memory/memory.oom_control")
    return events.get("oom_kill")


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes, including shared memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def give_back_memory() -> None:
    """Return freed memory to the kernel. The C library may keep hundreds of megabytes after a model was loaded."""
    gc.collect()
    with suppress(AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


def has_vnni(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether every processor accumulates products of 8-bit integers in 32 bits (AVX-VNNI or AVX-512 VNNI)."""
    flags = [line.split() for line in cpuinfo.read_text().splitlines() if line.startswith("flags")]
    return bool(flags) and all("avx512_vnni" in line or "avx_vnni" in line for line in flags)


def be_killed_first(score: int) -> None:
    """Make the kernel kill this process before others when memory runs out. The highest `score` is 1000."""
    with suppress(OSError):  # without a writable /proc, the kernel chooses by size
        Path("/proc/self/oom_score_adj").write_text(str(score))


def _words(path: Path) -> list[str]:
    """Return the words in a cgroup file; [] if it does not exist (other cgroup version, or no limit)."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def _limit(cgroup: Path) -> int | None:
    """Return the cgroup's memory limit in bytes, or None."""
    limit = _words(cgroup / "memory.max") or _words(cgroup / "memory/memory.limit_in_bytes")
    return int(limit[0]) if limit and limit[0].isdigit() else None


def _of_meminfo(name: str, meminfo: Path) -> int:
    return int(_table(meminfo)[f"{name}:"]) * 1024


def _table(path: Path) -> dict[str, int]:
    """Parse a file with a name and a number on each line, such as memory.stat or /proc/meminfo."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {name: int(value) for name, value, *_ in lines}
