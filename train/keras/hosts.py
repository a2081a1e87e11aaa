"""Distributed training with MultiWorkerMirroredStrategy, on the hosts in resourceconfig.json.

Each host uses all its visible GPUs, as in a MirroredStrategy.
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

_FIRST_PORT = PORT + 1  # each host has its own port, so that tests can run all hosts on one machine


def check(count: int, mini_batch_size: int) -> None:
    """Raise UserError if a batch cannot be divided evenly among `count` hosts."""
    if mini_batch_size % count:
        raise UserError(
            f"hyperparameter mini_batch_size={mini_batch_size} cannot be divided evenly among {count} hosts: set it "
            f"to a multiple of {count}"
        )


def strategy(hosts: Hosts, chosen: Sequence[Device]) -> tf.distribute.Strategy:
    """Return the strategy of the job for the `chosen` devices on each host. The hosts must already be connected.

    Call this before TensorFlow computes anything.
    """
    if len(hosts.names) == 1:
        return devices.mirrored(chosen)
    workers = [f"{name}:{_FIRST_PORT + rank}" for rank, name in enumerate(hosts.names)]
    task = {"type": "worker", "index": hosts.rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # TensorFlow logs every collective operation
    multi_worker = tf.distribute.MultiWorkerMirroredStrategy()
    stop.install()  # again, because TensorFlow replaced the SIGTERM handler to detect preemption
    return multi_worker


def count() -> int:
    """Return the number of hosts that the current strategy uses."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync) // devices.count()


@contextmanager
def collective_errors() -> Iterator[None]:
    """Translate errors of collective operations: raise Stopped if the job was asked to stop, else TrainError.

    SageMaker stops all hosts at once, but they may be at different batches, so one may wait for a host that has exited.
    """
    if count() == 1:
        yield
        return
    try:
        yield
    except tf.errors.OpError as error:
        stop.check()
        raise TrainError(f"another host of the job was lost; see its log: {sentence(str(error))[:400]}") from error
