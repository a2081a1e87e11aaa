"""Distributed training: MXNet's parameter server sums the gradients of all hosts, and each host runs the optimizer.

Gluon's Trainer hangs with this kind of store ("init 11 first"), and with the optimizer on the workers it trains
networks with BatchNorm incorrectly. Pushing and pulling all gradients as one vector per step avoids both problems.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import mxnet as mx

from train.job import stop
from train.job.peers import Peers, wait
from train.job.rendezvous import PORT

_STORES: list[mx.kv.KVStore] = []  # never freed, because MXNet would then wait for hosts that are gone
_SCHEDULER_PORT, _FIRST_PORT = PORT + 1, PORT + 2


class Exchange:
    """Averages arrays across the hosts of a job. This base class is for a single host."""

    hosts = 1

    def average(self, arrays: Sequence[Sequence[mx.nd.NDArray]]) -> None:
        """Replace float32 arrays, each given as its copies on the devices, with their means across the hosts.

        All hosts must call this with the same shapes. Raises Stopped, and TrainError if a host is lost.
        """


ALONE = Exchange()


class ParameterServer(Exchange):
    """Averages arrays across several hosts with MXNet's parameter server."""

    def __init__(self, peers: Peers) -> None:
        """Start this host's part of the parameter server. All hosts must do so. Raises Stopped and TrainError."""
        self._peers, self.hosts = peers, peers.count
        own, first = peers.addresses
        common = {
            "DMLC_PS_ROOT_URI": first,
            "DMLC_PS_ROOT_PORT": str(_SCHEDULER_PORT),
            "DMLC_NUM_SERVER": str(peers.count),
            "DMLC_NUM_WORKER": str(peers.count),
            "DMLC_NODE_HOST": own,
        }
        if peers.rank == 0:
            self._start("scheduler", common, _SCHEDULER_PORT)
        # Each host has its own two ports, so that tests can run all hosts on one machine.
        self._start("server", common, _FIRST_PORT + 2 * peers.rank)
        os.environ.update(common, DMLC_ROLE="worker", PORT=str(_FIRST_PORT + 2 * peers.rank + 1))
        stop.end_abruptly()
        # MXNet waits for other hosts in C++, where Python's main thread could not handle signals.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: mx.kv.KVStore = wait(self._thread.submit(mx.kv.create, "dist_sync"))
        _STORES.append(self._store)
        self._keys: dict[int, int] = {}  # the store's key for each vector size

    def _start(self, role: str, common: dict[str, str], port: int) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "train.gluon.parameter_server"],
            env=os.environ | common | {"DMLC_ROLE": role, "PORT": str(port)},
            stdin=subprocess.PIPE,
            start_new_session=True,  # so that Ctrl-C reaches only the job
        )
        self._peers.watch(process, "parameter server" if role == "server" else role)

    def average(self, arrays: Sequence[Sequence[mx.nd.NDArray]]) -> None:
        """Replace float32 arrays with their means across the hosts."""
        vector = mx.nd.concat(*(copies[0].reshape(-1) for copies in arrays), dim=0)
        self._peers.exchange(self._thread.submit(self._add_up, vector))
        vector /= self._peers.count
        start = 0
        for copies in arrays:
            end = start + copies[0].size
            for copy in copies:
                vector[start:end].reshape(copies[0].shape).copyto(copy)
            start = end

    def _add_up(self, vector: mx.nd.NDArray) -> None:
        """Replace a vector with its sum across the hosts, and wait for it."""
        if vector.size not in self._keys:
            self._keys[vector.size] = len(self._keys)
            self._store.init(self._keys[vector.size], mx.nd.zeros_like(vector))
        key = self._keys[vector.size]
        self._store.push(key, vector)
        self._store.pull(key, out=vector)
        vector.wait_to_read()


def connect(peers: Peers) -> Exchange:
    """Return the exchange between the hosts of a job. Raises Stopped and TrainError."""
    return ParameterServer(peers) if peers.count > 1 else ALONE
