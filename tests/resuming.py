"""`python -m tests.resuming ALGORITHM BASE OUT [--stop-after EPOCH] [--from STATE]`: a job's training, with its state.

Trains as the hyperparameters and channels under BASE say, without a model folder, and writes the state at the end to
OUT. With `--stop-after` a real SIGTERM comes when that epoch, from 0, is evaluated.
"""

import argparse
import signal
from dataclasses import dataclass
from pathlib import Path

from train.job import stop, threads


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
