"""Training that goes on from a state, in a new process.

    python -m tests.resuming ALGORITHM BASE OUT [--stop-after EPOCH] [--from STATE]

Trains as the hyperparameters and channels under BASE say, without a model folder, and writes the state at the end to
OUT. With `--stop-after` a real SIGTERM comes when that epoch, from 0, is evaluated.
"""

import argparse
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.environments import REPOSITORY
from train.job import stop, threads


def compare(algorithm: str, base: Path) -> list[str]:
    """Return what differs between four epochs of the job under `base`, and two and two of them in another process.

    By path: `step/parameters/conv0.weight`. Times are left out.
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

    whole, half = state.read(train("whole")), train("half", "--stop-after", 1)
    resumed = state.read(train("resumed", "--from", half))
    assert (state.read(half)["next"], whole["next"]) == (2, 4)
    for each in (whole, resumed):
        del each["best"]["metrics"]["train:throughput"]
    one, other = _leaves(whole), _leaves(resumed)
    same = {name for name in one.keys() & other.keys() if np.array_equal(one[name], other[name])}
    return sorted((one.keys() | other.keys()) - same)


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the numbers, texts and arrays of a state by their paths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {path: value}
    return {name: leaf for key, each in items for name, leaf in _leaves(each, f"{path}/{key}").items()}


@dataclass
class Folder:
    """Stands in for the model folder."""

    stop_after: int | None

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        """Write nothing; at the epoch at which the job is to stop, ask it to."""
        if epoch == self.stop_after:
            signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """Run the training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("algorithm")
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--from", dest="begin", type=Path)
    arguments = parser.parse_args()
    stop.install()
    threads.set_threads()
    from train import entry, hyperparameters, state  # after the thread variables
    from train.data import channels
    from train.job import cluster
    from train.job.training import Job
    from train.trainer import Trainer

    algorithm = entry.algorithm(arguments.algorithm)
    config = arguments.base / "input" / "config"
    hp = algorithm.check(hyperparameters.read(config / "hyperparameters.json"))
    job = Job(hp, channels.load(arguments.base / "input"), cluster.hosts(arguments.base), {})
    trainer = Trainer(algorithm.begin(job)[0], hp, Folder(arguments.stop_after))
    if arguments.begin:
        trainer.restore(state.read(arguments.begin))
    trainer.run()
    state.write(arguments.out, trainer.state())


if __name__ == "__main__":
    main()
