"""The logs of whole jobs, held to files that are checked in: tests/golden/ALGORITHM/CASE.log."""

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

# What differs from run to run and from machine to machine, and what stands for it, in this order.
MASKS = (
    (r"^\[\S+ \S+ (\w+) \d+\] ", r"\1 "),  # our prefix: time, level, thread
    (r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ", ""),  # the toolkit's
    (r"^INFO (.*time left|Epoch: .*epoch time so far|#progress_notice).*\n", ""),  # after 20 seconds of silence
    (r"^WARNING this image computes on the CPU: .*\n", ""),  # where there is a GPU
    (r"^(WARNING: All log messages before absl|[IWE]0000 ).*\n", ""),  # TensorFlow's remarks on the processor
    (r"(?<=Processors: )\d+ of \d+", "N of N"),
    (r"(?<=UserWarning: Parameter ).*(?= is not used)", "..."),  # Gluon names them in any order
    (r"\b(\d+\.\d+(e[-+]\d+)?|\d+e[-+]\d+)\b", "N"),  # what is measured; what is counted is a whole number
    (r"(?<=largest difference from )(\w+) \S+", r"\1 N"),  # which may be 0
)


def masked(log: str, base: Path) -> str:
    """Return the log as MASKS say, with /opt/ml for the job's folder."""
    log = log.replace(str(base), "/opt/ml").replace(str(REPOSITORY), "/opt/program")
    for pattern, instead in MASKS:
        log = re.sub(pattern, instead, log, flags=re.MULTILINE)
    return log


def check(ended: Mapping[str, Done]) -> None:
    """Fail with every line in which the masked logs differ from the golden files of these algorithms.

    `ended` holds jobs by ALGORITHM/CASE. With `GOLDEN=write` in the environment the files are written instead.
    """
    logs = {name: masked(done.log, done.model.parent) for name, done in ended.items()}
    if os.environ.get("GOLDEN") == "write":
        for algorithm in _algorithms(logs):
            shutil.rmtree(FOLDER / algorithm, ignore_errors=True)
            (FOLDER / algorithm).mkdir(parents=True)
        for name, log in logs.items():
            (FOLDER / f"{name}.log").write_text(log, encoding="utf-8")
    paths = [path for algorithm in _algorithms(logs) for path in (FOLDER / algorithm).glob("*.log")]
    held = {str(path.relative_to(FOLDER).with_suffix("")): path.read_text(encoding="utf-8") for path in paths}
    changes = [_change(name, held.get(name, ""), logs.get(name, "")) for name in sorted(logs.keys() | held.keys())]
    if any(changes):
        told = "The log of a job has changed. If it should, run this test once with GOLDEN=write and commit the files."
        pytest.fail("\n".join([told, *filter(None, changes)]), pytrace=False)


def _algorithms(logs: Iterable[str]) -> set[str]:
    return {name.split("/")[0] for name in logs}


def _change(name: str, held: str, log: str) -> str:
    lines = difflib.unified_diff(held.splitlines(), log.splitlines(), f"tests/golden/{name}.log", "this job", n=1)
    return "\n".join(line.rstrip("\n") for line in lines)
