"""Communication between the hosts of a job: exchange small messages, and detect when a host stops, fails or is lost.

Each host has a connection to the first one, which forwards messages to the others. Each host sends a heartbeat every
second, because TCP alone does not detect a lost machine or a suspended process.
"""

import concurrent.futures
import io
import json
import os
import queue
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve.words import sentence
from train.errors import Diverged, TrainError, UserError
from train.job import rendezvous, stop
from train.job.cluster import Hosts
from train.job.link import SILENCE, Kind, Link
from train.log import LOG

T = TypeVar("T")
_BEAT, _POLL = 1.0, 0.5  # seconds
_STUCK = 45.0  # seconds after which an exchange between all hosts must be complete
_COUNT = struct.Struct("<Q")
_MAX_REASON = 900  # characters of the reason that the other hosts write to output/failure
_STOPPED = "stopped"
_ERRORS = {error.__name__: error for error in (TrainError, UserError, Diverged)}


@dataclass(frozen=True)
class _End:
    """The reason why the job ends: the host `text` was asked to stop, or a host failed with an error of type `kind`."""

    kind: str
    text: str


class Peers:
    """The connections of this host to the other hosts of the job. A single host has none and never waits."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.rank, self.count = hosts, hosts.rank, len(hosts.names)
        self._links: list[Link] = []
        self._processes: list[tuple[subprocess.Popen[bytes], str]] = []
        self._exchanges = 0  # started plus finished exchanges, so odd while this host waits in one
        self._oldest = (0, time.monotonic())  # the smallest of all hosts' numbers, and when it was reached
        self._announced, self._lock = False, threading.Lock()
        self._wake, self._leaving, self._closed = threading.Event(), False, False

    def connect(self) -> None:
        """Wait for all hosts to connect. Raises TrainError if one fails or does not connect within 15 minutes."""
        if self.count == 1:
            return
        LOG.info("Waiting for all %d hosts: %s", self.count, ", ".join(self.hosts.names))
        stop.exit_with(self._leave)
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        (rendezvous.accept if self.rank == 0 else rendezvous.connect)(self.hosts, self._join)
        self._links.sort(key=lambda link: self.hosts.names.index(link.name))
        self.gather(b"")
        LOG.info(
            "All hosts are connected. This host is %s; %s writes the model", self.hosts.current, self.hosts.names[0]
        )

    @property
    def addresses(self) -> tuple[str, str]:
        """The IP addresses of this host and of the first host. Requires several connected hosts."""
        own, other = self._links[0].addresses
        return own, own if self.rank == 0 else other

    def gather(self, own: bytes) -> list[bytes]:
        """Return the values of all hosts, by rank. All hosts must call this. Raises Stopped and TrainError."""
        if self.count == 1:
            return [own]
        if self.rank == 0:
            values = [own, *(self._next(link) for link in self._links)]
            packed = b"".join(_COUNT.pack(len(value)) + value for value in values)
            for link in self._links:
                link.send_if_open(Kind.DATA, packed)
            return values
        self._links[0].send_if_open(Kind.DATA, own)
        packed, values = self._next(self._links[0]), []
        while packed:
            (size,), rest = _COUNT.unpack(packed[: _COUNT.size]), packed[_COUNT.size :]
            values.append(rest[:size])
            packed = rest[size:]
        return values

    def gather_json(self, own: Any) -> list[Any]:
        """Like `gather`, for values that JSON can represent."""
        return [own] if self.count == 1 else [json.loads(value) for value in self.gather(json.dumps(own).encode())]

    def gather_arrays(self, own: Sequence[NDArray[Any]]) -> list[list[NDArray[Any]]]:
        """Like `gather`, for lists of arrays."""
        return [[*own]] if self.count == 1 else [_unpack(value) for value in self.gather(_pack(own))]

    def mean(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the values of all hosts, identical on every host. Otherwise like `gather`."""
        return np.mean([values for [values] in self.gather_arrays([own])], axis=0)

    def exchange(self, work: concurrent.futures.Future[T]) -> T:
        """Wait for the result of another thread's exchange between all hosts. Raises Stopped and TrainError.

        MXNet waits for other hosts in C++, where Python cannot handle signals. Therefore another thread must do that.
        """
        self._exchanges += 1
        try:
            return wait(work)
        finally:
            self._exchanges += 1

    def watch(self, process: subprocess.Popen[bytes], what: str) -> None:
        """Fail the job on all hosts if this process ends before `close`."""
        self._processes.append((process, what))

    def close(self, error: BaseException | None = None) -> None:
        """Tell the other hosts that this host is done, or why it failed, and close the connections."""
        self._closed = True
        self._wake.set()
        if stop.requested():
            self._broadcast(_End(_STOPPED, self.hosts.current))
        elif error is not None:
            kind = type(error).__name__ if type(error) in _ERRORS.values() else TrainError.__name__
            text = sentence(str(error)) or type(error).__name__
            self._broadcast(_End(kind, f"host {self.hosts.current} of the job failed: {text}"[:_MAX_REASON]))
        for link in self._links:
            link.send_if_open(Kind.LEFT)
        for process, _ in self._processes:
            process.kill()
            process.wait()
        for link in self._links:
            link.close()

    def _join(self, link: Link) -> None:
        """Start to exchange heartbeats with a host, even if others are still missing."""
        self._links.append(link)
        threading.Thread(target=self._receive, args=[link], name="peer", daemon=True).start()

    # ---- threads ------------------------------------------------------------------------------------------------

    def _receive(self, link: Link) -> None:
        try:
            while True:
                kind, content = link.receive()
                if kind == Kind.DATA:
                    link.inbox.put(content)
                elif kind == Kind.BEAT:
                    (link.exchanges,) = _COUNT.unpack(content)
                elif kind == Kind.ENDED:
                    self._receive_end(_End(**json.loads(content)), link)
                    return
                elif kind == Kind.LEFT:
                    return
        except TimeoutError:
            self._lose(link, f"no message for {SILENCE:.0f} seconds")
        except (OSError, EOFError, ValueError) as error:
            self._lose(link, sentence(str(error)))

    def _beat(self) -> None:
        while not self._wake.wait(_BEAT) or self._leaving:
            if stop.requested() or self._leaving:
                self._broadcast(_End(_STOPPED, self.hosts.current))
            if self._leaving:
                os._exit(0)
            for link in [*self._links]:
                link.send_if_open(Kind.BEAT, _COUNT.pack(self._exchanges))
            self._check()

    def _check(self) -> None:
        """Fail if a watched process ended, or if an exchange is stuck."""
        for process, what in self._processes:
            if (code := process.poll()) is not None and not self._closed:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                self._fail(f"host {self.hosts.current} of the job failed: its {what} ended with {how}")
        if len(self._links) < (self.count - 1 if self.rank == 0 else 1):
            return  # not all hosts are connected yet
        lowest, now = min([self._exchanges, *(link.exchanges for link in self._links)]), time.monotonic()
        if lowest != self._oldest[0] or lowest % 2 == 0:
            self._oldest = lowest, now
        elif self.rank == 0 and now - self._oldest[1] > _STUCK:
            self._fail(f"all hosts of the job have waited for {_STUCK:.0f} seconds for the sum of their gradients")

    def _lose(self, link: Link, why: str) -> None:
        if not (self._closed or stop.requested()):
            self._fail(f"host {link.name} of the job was lost ({why}); see its log")

    def _fail(self, text: str) -> None:
        stop.fail(TrainError(text))
        self._broadcast(_End(TrainError.__name__, text))

    def _receive_end(self, end: "_End", link: Link) -> None:
        if end.kind in _ERRORS:
            stop.fail(_ERRORS[end.kind](end.text))
        elif not stop.requested():
            LOG.info("Host %s was asked to stop, so this one stops too", end.text)
            os.kill(os.getpid(), signal.SIGTERM)
        self._broadcast(end, sender=link)

    def _broadcast(self, end: "_End", sender: Link | None = None) -> None:
        """Send the first reason to end to all hosts except `sender`. Later ones are consequences and are not sent."""
        with self._lock:  # held while sending, because `close` must not send LEFT first
            if self._announced:
                return
            self._announced = True
            for link in self._links:
                if link is not sender:
                    link.send_if_open(Kind.ENDED, json.dumps(vars(end)).encode())

    def _leave(self) -> None:
        self._leaving = True
        self._wake.set()

    def _next(self, link: Link) -> bytes:
        while True:
            with suppress(queue.Empty):
                return link.inbox.get(timeout=_POLL)
            stop.check()


ALONE = Peers(Hosts(("algo-1",), "algo-1"))
"""The peers of a single host."""


def _pack(arrays: Sequence[NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _unpack(content: bytes) -> list[NDArray[Any]]:
    buffer, arrays = io.BytesIO(content), []
    while buffer.tell() < len(content):
        arrays.append(np.load(buffer, allow_pickle=False))
    return arrays


def wait(work: concurrent.futures.Future[T]) -> T:
    """Return the result of another thread. Raises Stopped, the error that the job fails with, or the thread's error."""
    while not work.done():
        concurrent.futures.wait([work], _POLL)
        stop.check()
    return work.result()


@contextmanager
def connected(hosts: Hosts) -> Iterator[Peers]:
    """Connect the hosts of a job. An error in the block ends the job on all hosts.

    Raises TrainError if a host does not connect within 15 minutes.
    """
    peers = Peers(hosts)
    try:
        peers.connect()
        yield peers
    except BaseException as error:
        peers.close(error)
        raise
    peers.close()
