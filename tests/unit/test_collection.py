"""Test collection is deterministic: pytest-xdist's workers collect separately and must find the same tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLLECT = """
import runpy, sys, time
shift, now = float(sys.argv[1]), time.time
time.time = lambda: now() + shift
sys.argv = ["tests", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
runpy.run_module("tests", run_name="__main__")
"""


def _collect(shift: float, hash_seed: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COLLECT, str(shift)],
        cwd=ROOT, env={"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_collection_does_not_depend_on_time_or_hash_seed() -> None:
    first, second = _collect(0, "1"), _collect(86_400, "2")
    names = [process.communicate()[0].splitlines() for process in (first, second)]
    assert first.returncode == second.returncode == 0, names
    tests = [[name for name in lines if "::" in name] for lines in names]
    assert len(tests[0]) > 1000
    assert tests[0] == tests[1]
