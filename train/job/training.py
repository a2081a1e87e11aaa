"""The steps of a training job, for any algorithm."""

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
"""A network with its data, ready for training, and the definition of its model folder."""
H = TypeVar("H", bound=CommonHyperparameters)


@dataclass(frozen=True)
class Job(Generic[H]):
    """The inputs of a job: checked hyperparameters, channels by name, hosts, and environment variables."""

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
    """Train with the hyperparameters `raw` and the channels in `base`/input; write the artifact to `base`/model.

    Raises UserError for invalid input and TrainError for other failures.
    """
    hosts = cluster.hosts(base)
    checkpoint_folder = checkpoints.folder(base)
    hp = algorithm.check(raw)
    hp.log(len(hosts.names))
    with connected(hosts) as peers:
        job = Job(hp, channels.load(base / "input"), peers, environ)
        distribution.require_files(job.channels, peers.count)
        _train(base, checkpoint_folder, job, *algorithm.prepare(job))


def _train(
    base: Path, checkpoint_folder: Path | None, job: Job[H], learner: Learner[Any, Any, Any], model: Model[Any]
) -> None:
    """Train the prepared learner, from the newest checkpoint if there is one."""
    first, identity = job.peers.rank == 0, {**model.identity(), "hosts": job.peers.count}
    saved = None if checkpoint_folder is None else Checkpoints(checkpoint_folder, identity, writes=first)
    newest = None if saved is None else saved.newest()
    _require_same_epoch(job.peers, newest.state["next"] if newest else 0)
    earlier_model.set_aside(base / "model")
    folder = ModelFolder(base / "model", model, learner.lines, writes=first)
    save_checkpoint = None if saved is None else partial(saved.save, weights=folder.weights)
    trainer = Trainer(learner, job.hp, folder, save_checkpoint, job.peers.mean)
    if newest is not None:
        folder.restore(newest.weights)
        trainer.restore(newest.state)
    try:
        trainer.run()
    except Diverged as error:
        if not first:
            raise  # the first host keeps the best epoch
        raise UserError(f"{error}; {folder.rescue(trainer.best)}") from error
    finally:
        if saved is not None:
            saved.write()
    if trainer.best is None:
        raise RuntimeError("the job ended before its first epoch was complete")  # a stop request ends the process then
    folder.save_last()
    folder.finish(trainer.best)
    learner.lines.succeeded()
    _wait_for_all(job.peers)


def _wait_for_all(peers: Peers) -> None:
    """Wait until all hosts are done, so that none leaves while another one needs it or before the model is written.

    A stop request ends the wait; the first host still finishes the model.
    """
    if not stop.requested():
        with suppress(stop.Stopped):
            peers.gather(b"")


def _require_same_epoch(peers: Peers, epoch: int) -> None:
    """Raise TrainError on all hosts if they would not start at the same epoch."""
    if len(set(peers.gather_json(epoch))) > 1:
        raise TrainError(
            f"the hosts would resume from different epochs, this one from epoch {epoch}: they must have the same "
            "checkpoints, which SageMaker copies to each host"
        )
