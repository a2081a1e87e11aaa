"""One training job, whatever its algorithm, from top to bottom."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from train.data import channels, distribution
from train.data.channels import Channel
from train.errors import Diverged, TrainError, UserError
from train.hyperparameter_types import CommonHyperparameters
from train.job import checkpoints, cluster, earlier_model, stop
from train.job.checkpoints import Checkpoints
from train.job.peers import Peers, connected
from train.learner import Learner
from train.model_folder import Model, ModelFolder
from train.trainer import Trainer

Prepared = tuple[Learner[Any, Any, Any], Model[Any]]
"""A network that is ready to be trained, and what its folder will hold."""
H = TypeVar("H", bound=CommonHyperparameters)


@dataclass(frozen=True)
class Job(Generic[H]):
    """What a job is given: checked hyperparameters, channels by name, its hosts and environment variables."""

    hp: H
    channels: dict[str, Channel]
    peers: Peers
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Algorithm(Generic[H]):
    """The interface of an algorithm. Each algorithm's `job` module defines one as `ALGORITHM`.

    `check` parses the hyperparameters that the user set. `prepare` reads the data and builds the network. Both raise
    UserError if the input is invalid.
    """

    check: Callable[[Mapping[str, str]], H]
    prepare: Callable[[Job[H]], Prepared]


def run(algorithm: Algorithm[H], base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Train as `raw` hyperparameters and the channels under `base`/input say; leave the artifact in `base`/model.

    Raises UserError for the user's mistakes and TrainError for ours.
    """
    hosts = cluster.hosts(base)
    place = checkpoints.folder(base)
    hp = algorithm.check(raw)
    hp.log(len(hosts.names))
    with connected(hosts) as peers:
        job = Job(hp, channels.load(base / "input"), peers, environ)
        distribution.require_files(job.channels, peers.count)
        _train(base, place, job, *algorithm.prepare(job))


def _train(base: Path, place: Path | None, job: Job[H], learner: Learner[Any, Any, Any], model: Model[Any]) -> None:
    """Train what is ready to be trained; `place` is the folder of checkpoints."""
    first, identity = job.peers.rank == 0, {**model.identity(), "hosts": job.peers.count}
    kept = None if place is None else Checkpoints(place, identity, writes=first)
    found = None if kept is None else kept.newest()
    _require_same_epoch(job.peers, found.state["next"] if found else 0)
    earlier_model.set_aside(base / "model")
    folder = ModelFolder(base / "model", model, learner.lines, writes=first)
    checkpoint = None if kept is None else partial(kept.save, weights=folder.weights)
    trainer = Trainer(learner, job.hp, folder, checkpoint, job.peers.mean)
    if found is not None:
        folder.restore(found.weights)
        trainer.restore(found.state)
    try:
        trainer.run()
    except Diverged as error:
        if not first:
            raise  # so that the first host keeps the best epoch
        raise UserError(f"{error}; {folder.rescue(trainer.best)}") from error
    finally:
        if kept is not None:
            kept.write()
    if trainer.best is None:
        raise RuntimeError("the job ended before an epoch had")  # a stop request before that ends the process
    folder.save_last()
    folder.finish(trainer.best)
    learner.lines.succeeded()
    _wait_for_all(job.peers)


def _wait_for_all(peers: Peers) -> None:
    """Wait until all hosts are done: none leaves while another needs it, nor before the model is there.

    A stop request ends the wait: the first host still finishes the model.
    """
    if not stop.requested():
        with suppress(stop.Stopped):
            peers.gather(b"")


def _require_same_epoch(peers: Peers, epoch: int) -> None:
    """Raise TrainError, on all hosts, when they would not begin at the same epoch."""
    if len(set(peers.gather_json(epoch))) > 1:
        raise TrainError(
            f"the hosts would go on from different epochs, this one from epoch {epoch}: they must see the same "
            "checkpoints, as SageMaker gives them to each host"
        )
