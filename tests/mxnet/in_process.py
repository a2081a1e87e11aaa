"""Runs a job in the tests' process instead of a new one, which saves another import of MXNet."""

import logging
from pathlib import Path

import pytest

from tests import jobs
from tests.mxnet.batches import log_lines
from train import entry
from train.errors import TrainError
from train.job import stop


def run(base: Path, algorithm: str = "image-classification") -> jobs.Done:
    """Run the job under `base`. `code` is the exit code that the toolkit would return."""
    with pytest.MonkeyPatch.context() as patch, log_lines() as lines:
        patch.setenv("SAGEMAKER_BASE_DIR", str(base))
        patch.setenv(entry.ALGORITHM, algorithm)
        # Restore the process-wide state that a job changes.
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
