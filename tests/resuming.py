"""Trains from a saved state in a new process.

    python -m tests.resuming ALGORITHM BASE OUT [--each] [--from STATE]

Uses the hyperparameters and channels under BASE, and no model folder. Writes the final state to OUT and, with `--each`,
the state after each epoch to OUT-1, OUT-2 and so on.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.environments import REPOSITORY
from train.job import threads


def compare(algorithm: str, base: Path) -> list[str]:
    """Train the four epochs of the job under `base` in three ways, and return the differences between the results.

    The first process runs without interruption. The second reads the state after each epoch, as a checkpoint does. The
    third starts from the state after two epochs. The result holds paths like `step/parameters/conv0.weight`.
    """

    def train(name: str, *options: object) -> Path:
        command = [sys.executable, "-m", "tests.resuming", algorithm, base, base / name, *options]
        environ = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*map(str, command)], cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return base / name

    from train import state

    whole, observed = state.read(train("whole")), state.read(train("observed", "--each"))
    assert (state.read(base / "observed-2")["next"], whole["next"]) == (2, 4)
    resumed = state.read(train("resumed", "--from", base / "observed-2"))
    return differences(whole, observed) + differences(whole, resumed)


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Return the paths of the values that differ between two trainer states. Timings are ignored."""
    a, b = (
        {name: leaf for name, leaf in _leaves(state).items() if name != "/best/metrics/train:throughput"}
        for state in (first, second)
    )
    same = {name for name in a.keys() & b.keys() if np.array_equal(a[name], b[name])}
    return sorted((a.keys() | b.keys()) - same)


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the numbers, strings and arrays of a state by their paths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {path: value}
    return {name: leaf for key, item in items for name, leaf in _leaves(item, f"{path}/{key}").items()}


class Folder:
    """A stand-in for the model folder."""

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        """Do nothing."""


def main() -> None:
    """Run the training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("algorithm")
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--from", dest="begin", type=Path)
    arguments = parser.parse_args()
    threads.set_threads()
    from train import entry, hyperparameter_types, state  # must follow the thread variables
    from train.data import channels
    from train.job.peers import ALONE
    from train.job.training import Job
    from train.trainer import Trainer

    algorithm = entry.algorithm(arguments.algorithm)
    config = arguments.base / "input" / "config"
    hp = algorithm.check(hyperparameter_types.read(config / "hyperparameters.json"))
    job = Job(hp, channels.load(arguments.base / "input"), ALONE, {})

    def write(now: state.State) -> None:
        state.write(arguments.out.with_name(f"{arguments.out.name}-{now['next']}"), now)

    trainer = Trainer(algorithm.prepare(job)[0], hp, Folder(), write if arguments.each else None)
    if arguments.begin:
        trainer.restore(state.read(arguments.begin))
    trainer.run()
    state.write(arguments.out, trainer.state())


if __name__ == "__main__":
    main()
