"""Several hosts train as one: MultiWorkerMirroredStrategy over the hosts that resourceconfig.json names.

Each host's visible GPUs take part, as in a MirroredStrategy of its own.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

from serve.words import sentence
from train.errors import TrainError, UserError
from train.job import stop
from train.job.cluster import Hosts
from train.job.devices import Device
from train.job.rendezvous import PORT
from train.keras import devices

_FIRST = PORT + 1  # of the first host; each further one has the next, so that in a test all may be one machine


def check(count: int, mini_batch_size: int) -> None:
    """Raise UserError when a batch cannot be shared evenly by `count` hosts."""
    if mini_batch_size % count:
        raise UserError(
            f"hyperparameter mini_batch_size={mini_batch_size} cannot be shared by {count} hosts: set it to a "
            f"multiple of {count}"
        )


def strategy(hosts: Hosts, chosen: Sequence[Device]) -> tf.distribute.Strategy:
    """Return the strategy of the job on `chosen` devices of each host, which have met.

    Must be called before TensorFlow computes anything.
    """
    if len(hosts.names) == 1:
        return devices.mirrored(chosen)
    workers = [f"{name}:{_FIRST + rank}" for rank, name in enumerate(hosts.names)]
    task = {"type": "worker", "index": hosts.rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it tells of every collective operation
    made = tf.distribute.MultiWorkerMirroredStrategy()
    stop.install()  # TensorFlow has taken SIGTERM for a notice of its own, which would go unheard
    return made


def count() -> int:
    """Return how many hosts the current strategy computes on."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync) // devices.count()


@contextmanager
def collective_errors() -> Iterator[None]:
    """What all hosts compute together. Raises TrainError when a host is lost, Stopped when the job was asked to stop.

    SageMaker stops all hosts at once, but they are not at the same batch: one may wait for another that has left.
    """
    if count() == 1:
        yield
        return
    try:
        yield
    except tf.errors.OpError as error:
        stop.check()
        raise TrainError(
            f"another host of the job was lost, and its log says why: {sentence(str(error))[:400]}"
        ) from error
