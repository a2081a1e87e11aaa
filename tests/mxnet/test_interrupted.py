"""MXNet jobs that are killed at random moments and restarted until they are done."""

from pathlib import Path

import pytest

from tests import interrupting

MXNET = [name for name, algorithm in interrupting.ALGORITHMS.items() if algorithm.environment == "mxnet"]


@pytest.mark.timeout(1800)  # make soak/training runs several seeds
@pytest.mark.parametrize("name", MXNET)
def test_a_job_that_is_killed_and_started_again_gives_bit_identical_results(name: str, tmp_path: Path) -> None:
    whole = interrupting.Job(name, tmp_path / "whole")
    whole.run()
    for seed in interrupting.SEEDS:
        interrupting.check(name, tmp_path / str(seed), seed, whole)
