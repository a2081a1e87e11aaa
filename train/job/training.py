"""One training job, whatever its algorithm, from top to bottom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from train.data import channels
from train.data.channels import Channel
from train.errors import Diverged, UserError
from train.hyperparameters import CommonHyperparameters
from train.job import checkpoints, cluster, earlier
from train.job.checkpoints import Checkpoints
from train.job.cluster import Hosts
from train.learner import Learner
from train.model_folder import Model, ModelFolder
from train.trainer import Trainer

Begun = tuple[Learner[Any, Any, Any], Model[Any]]
"""A network that is ready to be trained, and what its folder will hold."""
H = TypeVar("H", bound=CommonHyperparameters)


@dataclass(frozen=True)
class Job(Generic[H]):
    """What a job is given: checked hyperparameters, channels by name, hosts and environment variables."""

    hp: H
    channels: dict[str, Channel]
    hosts: Hosts
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Algorithm(Generic[H]):
    """What a job needs of an algorithm: `ALGORITHM` in the module `job` of its package.

    `check` returns hyperparameters of what the user has set, or raises UserError. `begin` reads the data and builds the
    network, or raises UserError. With `several_hosts` a job of several trains on them as one.
    """

    check: Callable[[Mapping[str, str]], H]
    begin: Callable[[Job[H]], Begun]
    several_hosts: bool = False


def run(algorithm: Algorithm[H], base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Train as `raw` hyperparameters and the channels under `base`/input say; leave the artifact in `base`/model.

    Raises UserError for the user's mistakes and TrainError for ours.
    """
    hosts = cluster.hosts(base) if algorithm.several_hosts else cluster.one_host(base)
    place = checkpoints.folder(base)
    hp = algorithm.check(raw)
    hp.say()
    learner, model = algorithm.begin(Job(hp, channels.load(base / "input"), hosts, environ))
    kept = None if place is None else Checkpoints(place, model.identity(), writes=hosts.rank == 0)
    found = None if kept is None else kept.newest()
    learner.begin(found.state["next"] if found else 0)
    earlier.set_aside(base / "model")
    folder = ModelFolder(base / "model", model, learner.lines, writes=hosts.rank == 0)
    trainer = Trainer(learner, hp, folder, None if kept is None else partial(kept.save, weights=folder.weights))
    if found is not None:
        folder.restore(found.weights)
        trainer.restore(found.state)
    try:
        trainer.run()
    except Diverged as error:
        raise UserError(f"{error}; {folder.rescue(trainer.best)}") from error
    finally:
        if kept is not None:
            kept.write()
    if trainer.best is None:
        raise RuntimeError("the job ended before an epoch had")  # a stop request before that ends the process
    folder.save_last()
    folder.finish(trainer.best)
    learner.lines.succeeded()
    learner.leave()
