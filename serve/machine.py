"""What the container may use of its machine: CPUs and memory, by cgroup where one limits them."""

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
CPUINFO = Path("/proc/cpuinfo")


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
    kilobytes = next(line.split()[1] for line in meminfo.read_text().splitlines() if line.startswith("MemTotal:"))
    total = int(kilobytes) * 1024
    limit = _words(cgroup / "memory.max") or _words(cgroup / "memory/memory.limit_in_bytes")
    return min(total, int(limit[0])) if limit and limit[0].isdigit() else total


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
