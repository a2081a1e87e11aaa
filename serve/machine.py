"""What the container may use of its machine: CPUs and memory, by cgroup where one limits them."""

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
    """CPUs that may be used at once, at least 1: the affinity mask, cut to the cgroup's quota (rounded up).

    cgroup v2 says it in cpu.max ("QUOTA PERIOD" or "max PERIOD"), v1 in cpu/cpu.cfs_quota_us and _period_us.
    """
    visible = len(os.sched_getaffinity(0))
    quota = _words(cgroup / "cpu.max") or [
        *_words(cgroup / "cpu/cpu.cfs_quota_us"),
        *_words(cgroup / "cpu/cpu.cfs_period_us"),
    ]
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
        visible = min(visible, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, visible)


def memory_bytes(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Bytes of memory that may be used: the machine's, cut to the cgroup's limit (v2 memory.max, v1 limit_in_bytes)."""
    total = _of_meminfo("MemTotal", meminfo)
    limit = _limit(cgroup)
    return total if limit is None else min(total, limit)


def free_memory_bytes(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Bytes of memory that can be had now: what the machine has available, and the cgroup's limit leaves.

    The cgroup counts as used what it has charged, without the cached pages of files, which the kernel gives up when
    memory is asked for; those of tmpfs (shmem), which is among them, it cannot.
    """
    available = _of_meminfo("MemAvailable", meminfo)
    limit, used = _limit(cgroup), _words(cgroup / "memory.current") or _words(cgroup / "memory/memory.usage_in_bytes")
    if limit is None or not used:
        return available
    if stat := _table(cgroup / "memory.stat"):
        cached = stat["file"] - stat["shmem"]
    else:  # v1, where the names without total_ leave out what children of the cgroup have
        stat = _table(cgroup / "memory/memory.stat")
        cached = stat.get("total_cache", 0) - stat.get("total_shmem", 0)
    return max(0, min(available, limit - (int(used[0]) - cached)))


def oom_kills(cgroup: Path = CGROUP) -> int | None:
    """Processes of the cgroup that the kernel has killed for want of memory; None where it does not count them.

    cgroup v2 says it in memory.events, v1 in memory/memory.oom_control (since Linux 4.13), both as oom_kill.
    """
    events = _table(cgroup / "memory.events") or _table(cgroup / "memory/memory.oom_control")
    return events.get("oom_kill")


def resident_bytes() -> int:
    """Bytes of memory that this process has now, shared ones among them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def give_back_memory() -> None:
    """Let the kernel have what was freed. The C library keeps hundreds of megabytes, once a model was loaded."""
    gc.collect()
    with suppress(AttributeError):  # of another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def has_vnni(cpuinfo: Path = CPUINFO) -> bool:
    """Whether every processor adds up products of 8-bit integers in 32 bits: AVX-VNNI, or that of AVX-512."""
    flags = [line.split() for line in cpuinfo.read_text().splitlines() if line.startswith("flags")]
    return bool(flags) and all("avx512_vnni" in words or "avx_vnni" in words for words in flags)


def be_killed_first(score: int) -> None:
    """When memory runs out, let the kernel end this process before others: the sooner the higher the score, to 1000."""
    with suppress(OSError):  # where /proc cannot be written the kernel chooses by size alone
        Path("/proc/self/oom_score_adj").write_text(str(score))


def _words(path: Path) -> list[str]:
    """The words of a cgroup file, none where it does not exist (another cgroup version, or no limit)."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def _limit(cgroup: Path) -> int | None:
    """The cgroup's limit of memory, None for none."""
    limit = _words(cgroup / "memory.max") or _words(cgroup / "memory/memory.limit_in_bytes")
    return int(limit[0]) if limit and limit[0].isdigit() else None


def _of_meminfo(name: str, meminfo: Path) -> int:
    return int(_table(meminfo)[f"{name}:"]) * 1024


def _table(path: Path) -> dict[str, int]:
    """The lines of a file of names and numbers: a cgroup's memory.stat or memory.events, /proc/meminfo."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines}
