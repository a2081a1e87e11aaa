"""Several hosts train as one: MXNet's parameter server adds up a vector of each host, each has the optimizer.

Gluon's own Trainer over that store hangs ("init 11 first"), and with the optimizer on the workers trains wrongly where
there is BatchNorm. One push and one pull a step, of all gradients in one vector, do neither.
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

_STORES: list[mx.kv.KVStore] = []  # never freed: MXNet would wait there for hosts that are gone
_SCHEDULER, _FIRST = PORT + 1, PORT + 2


class Exchange:
    """Averages arrays over the hosts of a job, of which this one is alone."""

    hosts = 1

    def average(self, arrays: Sequence[Sequence[mx.nd.NDArray]]) -> None:
        """Set float32 arrays, each a list of its copies on the devices, to their means over the hosts.

        All hosts must call it, with the same shapes. Raises Stopped, and TrainError when a host is lost.
        """


ALONE = Exchange()


class ParameterServer(Exchange):
    """Averages arrays over several hosts."""

    def __init__(self, peers: Peers) -> None:
        """Start this host's part of the parameter server; all hosts must. Raises Stopped and TrainError."""
        self._peers, self.hosts = peers, peers.count
        own, first = peers.addresses
        common = {
            "DMLC_PS_ROOT_URI": first,
            "DMLC_PS_ROOT_PORT": str(_SCHEDULER),
            "DMLC_NUM_SERVER": str(peers.count),
            "DMLC_NUM_WORKER": str(peers.count),
            "DMLC_NODE_HOST": own,
        }
        if peers.rank == 0:
            self._start("scheduler", common, _SCHEDULER)
        # Two ports for each host, so that in a test all may be one machine.
        self._start("server", common, _FIRST + 2 * peers.rank)
        os.environ.update(common, DMLC_ROLE="worker", PORT=str(_FIRST + 2 * peers.rank + 1))
        stop.end_abruptly()
        # MXNet waits for other hosts in C++, where no signal reaches Python's main thread: this one waits there.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: mx.kv.KVStore = wait(self._thread.submit(mx.kv.create, "dist_sync"))
        _STORES.append(self._store)
        self._keys: dict[int, int] = {}  # of the store, by the size of a vector

    def _start(self, role: str, common: dict[str, str], port: int) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "train.gluon.parameter_server"],
            env=os.environ | common | {"DMLC_ROLE": role, "PORT": str(port)},
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the job
        )
        self._peers.watch(process, "parameter server" if role == "server" else role)

    def average(self, arrays: Sequence[Sequence[mx.nd.NDArray]]) -> None:
        """Set float32 arrays to their means over the hosts."""
        vector = mx.nd.concat(*(copies[0].reshape(-1) for copies in arrays), dim=0)
        self._peers.exchange(self._thread.submit(self._add_up, vector))
        vector /= self._peers.count
        begin = 0
        for copies in arrays:
            end = begin + copies[0].size
            for copy in copies:
                vector[begin:end].reshape(copies[0].shape).copyto(copy)
            begin = end

    def _add_up(self, vector: mx.nd.NDArray) -> None:
        """Set a vector to the sum of all hosts' and wait for it."""
        if vector.size not in self._keys:
            self._keys[vector.size] = len(self._keys)
            self._store.init(self._keys[vector.size], mx.nd.zeros_like(vector))
        key = self._keys[vector.size]
        self._store.push(key, vector)
        self._store.pull(key, out=vector)
        vector.wait_to_read()


def connect(peers: Peers) -> Exchange:
    """Return what averages over the hosts of a job. Raises Stopped and TrainError."""
    return ParameterServer(peers) if peers.count > 1 else ALONE
