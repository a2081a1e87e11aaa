"""Compares the logs of whole jobs with the files tests/golden/ALGORITHM/CASE.log."""

import difflib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.jobs import Done

FOLDER = REPOSITORY / "tests" / "golden"

# Patterns of text that differs between runs or machines, and the replacements. They apply in this order.
MASKS = (
    (r"^\[\S+ \S+ (\w+) \d+\] ", r"\1 "),  # our prefix: time, level, thread
    (r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ", ""),  # the toolkit's
    (r"^INFO (.*time left|Epoch: .*epoch time so far|#progress_notice).*\n", ""),  # logged after 20 silent seconds
    (r"^WARNING this image uses only the CPU, .*\n", ""),  # only on machines with a GPU
    (r"^(WARNING: All log messages before absl|[IWE]0000 ).*\n", ""),  # TensorFlow's messages about the processor
    (r"(?<=Processors: )\d+ of \d+", "N of N"),
    (r"(?<=UserWarning: Parameter ).*(?= is not used)", "..."),  # Gluon's order varies
    (r"\b(\d+\.\d+(e[-+]\d+)?|\d+e[-+]\d+)\b", "N"),  # measurements; counts are integers and stay
    (r"(?<=largest difference from )(\w+) \S+", r"\1 N"),  # may be the integer 0
)


def masked(log: str, base: Path) -> str:
    """Return the log with MASKS applied and the job's folder replaced by /opt/ml."""
    log = log.replace(str(base), "/opt/ml").replace(str(REPOSITORY), "/opt/program")
    for pattern, replacement in MASKS:
        log = re.sub(pattern, replacement, log, flags=re.MULTILINE)
    return log


def check(ended: Mapping[str, Done]) -> None:
    """Fail with a diff if the masked logs differ from the golden files of these algorithms.

    `ended` maps ALGORITHM/CASE to jobs. If GOLDEN=write is in the environment, the files are written instead.
    """
    logs = {name: masked(done.log, done.model.parent) for name, done in ended.items()}
    if os.environ.get("GOLDEN") == "write":
        for algorithm in _algorithms(logs):
            shutil.rmtree(FOLDER / algorithm, ignore_errors=True)
            (FOLDER / algorithm).mkdir(parents=True)
        for name, log in logs.items():
            (FOLDER / f"{name}.log").write_text(log, encoding="utf-8")
    paths = [path for algorithm in _algorithms(logs) for path in (FOLDER / algorithm).glob("*.log")]
    golden = {str(path.relative_to(FOLDER).with_suffix("")): path.read_text(encoding="utf-8") for path in paths}
    changes = [_change(name, golden.get(name, ""), logs.get(name, "")) for name in sorted(logs.keys() | golden.keys())]
    if any(changes):
        message = "A job's log has changed. If this is intended, run this test with GOLDEN=write and commit the files."
        pytest.fail("\n".join([message, *filter(None, changes)]), pytrace=False)


def _algorithms(logs: Iterable[str]) -> set[str]:
    return {name.split("/")[0] for name in logs}


def _change(name: str, golden: str, log: str) -> str:
    lines = difflib.unified_diff(golden.splitlines(), log.splitlines(), f"tests/golden/{name}.log", "this job", n=1)
    return "\n".join(line.rstrip("\n") for line in lines)
