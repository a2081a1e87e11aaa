"""Memory for loading models: free memory according to the cgroup's files, and the reservations of running loads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve import machine
from serve.engine.memory import BASE, PEAK, Memory, to_load
from serve.http.errors import OutOfMemory

GB, MB = 10**9, 10**6


def write_files(folder: Path, available: int, files: dict[str, str]) -> tuple[Path, Path]:
    """Write a folder like /sys/fs/cgroup, and a file like /proc/meminfo."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "meminfo").write_text(f"MemTotal: {64 * GB // 1024} kB\nMemAvailable: {available // 1024} kB\n")
    return folder, folder / "meminfo"


V2 = {
    "memory.max": f"{GB}\n",
    "memory.current": f"{700 * MB}\n",
    # Of 400 MB of cached pages, 100 MB are files of a tmpfs, which cannot be freed.
    "memory.stat": f"anon {290 * MB}\nfile {400 * MB}\nshmem {100 * MB}\ninactive_file {50 * MB}\n",
}
V1 = {
    "memory/memory.limit_in_bytes": f"{GB}\n",
    "memory/memory.usage_in_bytes": f"{700 * MB}\n",
    "memory/memory.stat": f"cache 1\nshmem 2\ntotal_cache {400 * MB}\ntotal_shmem {100 * MB}\ntotal_inactive_file 0\n",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_free_memory_is_the_limit_minus_usage_and_cached_files_count_as_free(
    tmp_path: Path, files: dict[str, str]
) -> None:
    assert machine.free_memory_bytes(*write_files(tmp_path, 64 * GB, files)) == 600 * MB


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_a_cgroup_never_has_more_free_memory_than_the_machine(tmp_path: Path, files: dict[str, str]) -> None:
    available = 512 * 1024 * 1024
    assert machine.free_memory_bytes(*write_files(tmp_path, available, files)) == available


@pytest.mark.parametrize(
    "files",
    [
        {},
        {**V2, "memory.max": "max\n"},
        {**V1, "memory/memory.limit_in_bytes": "9223372036854771712\n"},
        {"memory.max": f"{GB}\n"},
    ],
    ids=["no cgroup", "v2 without a limit", "v1 without a limit", "usage unknown"],
)
def test_without_a_limit_the_machines_available_memory_is_free(tmp_path: Path, files: dict[str, str]) -> None:
    assert machine.free_memory_bytes(*write_files(tmp_path, 2**30, files)) == 2**30


def test_memory_used_beyond_the_limit_gives_0_free_bytes(tmp_path: Path) -> None:
    files = {**V2, "memory.current": f"{2 * GB}\n"}
    assert machine.free_memory_bytes(*write_files(tmp_path, 64 * GB, files)) == 0


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"memory.events": "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"}, 2),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"}, 2),
        ({"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, None),
        ({}, None),
    ],
    ids=["v2", "v1", "v1 before Linux 4.13", "no cgroup"],
)
def test_the_number_of_out_of_memory_kills_comes_from_the_cgroup(
    tmp_path: Path, files: dict[str, str], count: int | None
) -> None:
    write_files(tmp_path, 64 * GB, files)
    assert machine.oom_kills(tmp_path) == count


def test_freed_memory_is_returned_to_the_system() -> None:
    before = machine.resident_bytes()
    blocks = [b"x" * 100_000 for _ in range(2000)]  # each is too small for a separate mmap
    kept = blocks[-1]  # the last one, so that the C library cannot shrink its heap
    del blocks
    freed = machine.resident_bytes() - before
    machine.give_back_memory()
    assert kept
    assert freed > 100 * MB
    assert machine.resident_bytes() - before < 20 * MB


def test_this_machine_has_some_memory_free() -> None:
    assert 0 < machine.free_memory_bytes() <= machine.memory_bytes()


def test_a_load_that_does_not_fit_next_to_the_memory_for_requests_is_rejected() -> None:
    memory = Memory(held_back=100, free=lambda: 1000)
    with memory.reserved(900):
        pass
    message = "may take 0 MB, but only 0 MB are free, not counting 0 MB for requests; unload another model"
    with pytest.raises(OutOfMemory, match=message), memory.reserved(901):
        pass
    assert OutOfMemory.status == 507


def test_a_load_that_does_not_fit_next_to_another_waits_for_it() -> None:
    memory, free = Memory(held_back=0, free=lambda: free_now[0]), 1000
    free_now = [free]
    started, end = threading.Event(), threading.Event()

    def first() -> None:
        with memory.reserved(700):
            started.set()
            assert end.wait(10)

    def second() -> str:
        with memory.reserved(600):
            return "loaded"

    with ThreadPoolExecutor(2) as pool:
        first_load = pool.submit(first)
        assert started.wait(10)
        second_load = pool.submit(second)
        with pytest.raises(TimeoutError):
            second_load.result(0.1)
        free_now[0] = 900  # the first load used 100 of the 700 that it had reserved
        end.set()
        first_load.result(10)
        assert second_load.result(10) == "loaded"


def test_a_load_that_waited_is_rejected_if_too_little_memory_is_left() -> None:
    free_now = [1000]
    memory = Memory(held_back=0, free=lambda: free_now[0])
    started, end = threading.Event(), threading.Event()

    def first() -> None:
        with memory.reserved(700):
            started.set()
            assert end.wait(10)
            free_now[0] = 500

    def second() -> None:
        with memory.reserved(600):
            pass

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert started.wait(10)
        second_load = pool.submit(second)
        end.set()
        with pytest.raises(OutOfMemory):
            second_load.result(10)


def test_a_graph_needs_a_multiple_of_its_files_size_and_a_fixed_amount() -> None:
    assert to_load(47 * MB) == PEAK * 47 * MB + BASE == 208 * MB
