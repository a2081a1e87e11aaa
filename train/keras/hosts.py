"""Several hosts train as one: MultiWorkerMirroredStrategy over the hosts that resourceconfig.json names.

Each host's visible GPUs take part, as in a MirroredStrategy of its own.
"""

import json
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serve.words import sentence
from train.errors import TrainError, UserError
from train.job import stop
from train.job.cluster import Hosts
from train.job.devices import Device
from train.keras import devices
from train.log import LOG

_PORT = 7777  # of the first host; each further one has the next, so that in a test all may be one machine


def check(hosts: Hosts, mini_batch_size: int) -> None:
    """Raise UserError when a batch cannot be shared evenly by the hosts."""
    count = len(hosts.names)
    if mini_batch_size % count:
        raise UserError(
            f"hyperparameter mini_batch_size={mini_batch_size} cannot be shared by {count} hosts: set it to a "
            f"multiple of {count}"
        )


def strategy(hosts: Hosts, chosen: Sequence[Device]) -> tf.distribute.Strategy:
    """Return the strategy of the job on `chosen` devices of each host. Waits until all hosts are there.

    Must be called before TensorFlow computes anything.
    """
    if len(hosts.names) == 1:
        return devices.mirrored(chosen)
    workers = [f"{name}:{_PORT + rank}" for rank, name in enumerate(hosts.names)]
    task = {"type": "worker", "index": hosts.rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it tells of every collective operation
    LOG.info("Waiting for all %d hosts: %s", len(workers), ", ".join(workers))
    made = tf.distribute.MultiWorkerMirroredStrategy()
    stop.install()  # TensorFlow has taken SIGTERM for a notice of its own, which would go unheard
    LOG.info("All hosts are there. This one is %s; %s writes the model", hosts.current, hosts.names[0])
    return made


def count() -> int:
    """Return how many hosts the current strategy computes on."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync) // devices.count()


@contextmanager
def together() -> Iterator[None]:
    """What all hosts compute together. Raises TrainError when a host is lost, Stopped when the job was asked to stop.

    SageMaker stops all hosts at once, but they are not at the same batch: one may wait for another that has left.
    """
    if count() == 1:
        yield
        return
    try:
        yield
    except tf.errors.OpError as error:
        if stop.requested():
            raise stop.Stopped from None
        raise TrainError(
            f"another host of the job was lost, and its log says why: {sentence(str(error))[:400]}"
        ) from error


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of all hosts' `values`, float64 (n,), the same on every host. Raises as `together`."""
    current = tf.distribute.get_strategy()
    if count() == 1:
        return values
    with together():
        own = current.run(lambda: tf.constant(values, tf.float64))
        return current.reduce(tf.distribute.ReduceOp.MEAN, own, axis=None).numpy()


def meet() -> None:
    """Wait until all hosts have come here, so that none of them leaves while another needs it."""
    if not stop.requested():
        mean(np.zeros(1))


def check_alike(names: Sequence[str]) -> None:
    """Raise UserError when the hosts have other training samples than each other, by number or name."""
    own = np.array([zlib.crc32("\n".join(names).encode("utf-8", "surrogateescape"))], np.float64)
    if mean(own) != own:
        raise UserError(
            f"the hosts have different training images, this one {len(names)}: every host must see all of them; leave "
            "the channels' distribution at FullyReplicated"
        )


def check_beginning(epoch: int) -> None:
    """Raise TrainError, on all hosts, when they would not begin at the same epoch."""
    first, square = mean(np.array([epoch, epoch**2], np.float64))
    if square != first**2:
        raise TrainError(
            f"the hosts would go on from different epochs, this one from epoch {epoch}: they must see the same "
            "checkpoints, as SageMaker gives them to each host"
        )
