"""Runs a job in the tests' own process, as the toolkit would in one of its own: a second import of MXNet is saved."""

import logging
from pathlib import Path

import pytest

from tests import jobs
from tests.mxnet.batches import log_lines
from train import entry
from train.errors import TrainError
from train.job import stop


def run(base: Path, algorithm: str = "image-classification") -> jobs.Done:
    """Run the job that `base` describes; `code` is the exit code that the toolkit would make of how it ended."""
    with pytest.MonkeyPatch.context() as patch, log_lines() as lines:
        patch.setenv("SAGEMAKER_BASE_DIR", str(base))
        patch.setenv(entry.ALGORITHM, algorithm)
        # What a job changes for the rest of its process.
        patch.setitem(stop._state, "keeping", False)
        patch.setattr(stop, "_exit_message", [""])
        patch.setattr(logging.getLogger("sagemaker-training-toolkit"), "filters", [])
        code = _exit_code()
    failure = base / "output" / "failure"
    log = "".join(f"[] {line}\n" for line in lines)
    return jobs.Done(code, log, failure.read_text() if failure.exists() else "", base / "model")


def _exit_code() -> int:
    try:
        entry.prepare()
        entry.main()
    except TrainError as error:
        return error.errno
    return 0
