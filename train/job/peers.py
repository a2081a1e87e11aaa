"""The hosts of a job keep in touch: small messages to all, and the news that one stops, fails or is gone.

Each host has a connection to the first one, which passes on what all must know. A beat every second says that a host
is alive: TCP alone does not notice a machine that is gone, nor a process that is stopped.
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
_STUCK = 45.0  # seconds in which an exchange that all hosts take part in must end
_COUNT = struct.Struct("<Q")
_TEXT = 900  # characters of the reason that the other hosts write to output/failure
_STOPPED = "stopped"
_ERRORS = {each.__name__: each for each in (TrainError, UserError, Diverged)}


@dataclass(frozen=True)
class _End:
    """A host stops, whose name is the text, or has failed, with an error of a kind and a text."""

    kind: str
    text: str


class Peers:
    """What this host and the others of its job say to each other. One host alone has nobody to wait for."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.rank, self.count = hosts, hosts.rank, len(hosts.names)
        self._links: list[Link] = []
        self._processes: list[tuple[subprocess.Popen[bytes], str]] = []
        self._exchanges = 0  # odd while this host waits in one
        self._oldest = (0, time.monotonic())  # the least such number of all hosts, and since when
        self._announced, self._lock = False, threading.Lock()
        self._wake, self._leaving, self._closed = threading.Event(), False, False

    def connect(self) -> None:
        """Wait until all hosts are there. Raises TrainError when one is not within 15 minutes, or has failed."""
        if self.count == 1:
            return
        LOG.info("Waiting for all %d hosts: %s", self.count, ", ".join(self.hosts.names))
        stop.exit_with(self._leave)
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        (rendezvous.accept if self.rank == 0 else rendezvous.connect)(self.hosts, self._join)
        self._links.sort(key=lambda link: self.hosts.names.index(link.name))
        self.gather(b"")
        LOG.info("All hosts are there. This one is %s; %s writes the model", self.hosts.current, self.hosts.names[0])

    @property
    def addresses(self) -> tuple[str, str]:
        """The IP addresses of this host and of the first one; of several hosts that have met."""
        own, other = self._links[0].addresses
        return own, own if self.rank == 0 else other

    def gather(self, own: bytes) -> list[bytes]:
        """Return what all hosts give, in their order; all must call it. Raises Stopped and TrainError."""
        if self.count == 1:
            return [own]
        if self.rank == 0:
            found = [own, *(self._next(link) for link in self._links)]
            packed = b"".join(_COUNT.pack(len(each)) + each for each in found)
            for link in self._links:
                link.send_if_open(Kind.DATA, packed)
            return found
        self._links[0].send_if_open(Kind.DATA, own)
        packed, found = self._next(self._links[0]), []
        while packed:
            (size,), rest = _COUNT.unpack(packed[: _COUNT.size]), packed[_COUNT.size :]
            found.append(rest[:size])
            packed = rest[size:]
        return found

    def gather_json(self, own: Any) -> list[Any]:
        """Return the values of all hosts, which JSON can hold, in their order. Otherwise like `gather`."""
        return [own] if self.count == 1 else [json.loads(each) for each in self.gather(json.dumps(own).encode())]

    def gather_arrays(self, own: Sequence[NDArray[Any]]) -> list[list[NDArray[Any]]]:
        """Return the lists of arrays of all hosts, in their order. Otherwise like `gather`."""
        return [[*own]] if self.count == 1 else [_arrays(each) for each in self.gather(_bytes(own))]

    def mean(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of all hosts' values, float64, the same on every host. Otherwise like `gather`."""
        return np.mean([values for [values] in self.gather_arrays([own])], axis=0)

    def exchange(self, work: concurrent.futures.Future[T]) -> T:
        """Wait for work of another thread that all hosts take part in. Raises Stopped and TrainError.

        MXNet waits for other hosts in C++, where no signal reaches Python: so another thread does that, not this one.
        """
        self._exchanges += 1
        try:
            return wait(work)
        finally:
            self._exchanges += 1

    def watch(self, process: subprocess.Popen[bytes], what: str) -> None:
        """Let all hosts fail when this process ends before `close`."""
        self._processes.append((process, what))

    def close(self, error: BaseException | None = None) -> None:
        """Let the other hosts know that this one is done, or that it has failed and why, and leave them."""
        self._closed = True
        self._wake.set()
        if stop.requested():
            self._broadcast(_End(_STOPPED, self.hosts.current))
        elif error is not None:
            kind = type(error).__name__ if type(error) in _ERRORS.values() else TrainError.__name__
            text = sentence(str(error)) or type(error).__name__
            self._broadcast(_End(kind, f"host {self.hosts.current} of the job failed: {text}"[:_TEXT]))
        for link in self._links:
            link.send_if_open(Kind.LEFT)
        for process, _ in self._processes:
            process.kill()
            process.wait()
        for link in self._links:
            link.close()

    def _join(self, link: Link) -> None:
        """Keep in touch with a host from now on, though others may still be missing."""
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
            self._lose(link, f"nothing came from it for {SILENCE:.0f} seconds")
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
        """Notice a process of this host that has ended, and an exchange that does not end."""
        for process, what in self._processes:
            if (code := process.poll()) is not None and not self._closed:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                self._fail(f"host {self.hosts.current} of the job failed: its {what} ended with {how}")
        if len(self._links) < (self.count - 1 if self.rank == 0 else 1):
            return  # not all have met
        least, now = min([self._exchanges, *(link.exchanges for link in self._links)]), time.monotonic()
        if least != self._oldest[0] or least % 2 == 0:
            self._oldest = least, now
        elif self.rank == 0 and now - self._oldest[1] > _STUCK:
            self._fail(f"all hosts of the job have waited for {_STUCK:.0f} seconds for the sum of their gradients")

    def _lose(self, link: Link, why: str) -> None:
        if not (self._closed or stop.requested()):
            self._fail(f"host {link.name} of the job was lost ({why}), and its log says why")

    def _fail(self, text: str) -> None:
        stop.fail(TrainError(text))
        self._broadcast(_End(TrainError.__name__, text))

    def _receive_end(self, end: "_End", link: Link) -> None:
        if end.kind in _ERRORS:
            stop.fail(_ERRORS[end.kind](end.text))
        elif not stop.requested():
            LOG.info("Host %s was asked to stop, so this one stops too", end.text)
            os.kill(os.getpid(), signal.SIGTERM)
        self._broadcast(end, but=link)

    def _broadcast(self, end: "_End", but: Link | None = None) -> None:
        """Pass on that a host stops or has failed, once: the first is the reason, the others follow from it."""
        with self._lock:  # until it is sent: `close` must not say LEFT before that
            if self._announced:
                return
            self._announced = True
            for link in self._links:
                if link is not but:
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
"""One host, which meets nobody."""


def _bytes(arrays: Sequence[NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _arrays(content: bytes) -> list[NDArray[Any]]:
    buffer, found = io.BytesIO(content), []
    while buffer.tell() < len(content):
        found.append(np.load(buffer, allow_pickle=False))
    return found


def wait(work: concurrent.futures.Future[T]) -> T:
    """Return what another thread has computed. Raises Stopped, the reason why the job fails, and its own errors."""
    while not work.done():
        concurrent.futures.wait([work], _POLL)
        stop.check()
    return work.result()


@contextmanager
def connected(hosts: Hosts) -> Iterator[Peers]:
    """Yield the hosts of a job when all are there; what ends the block with an error ends the job on all of them.

    Raises TrainError when a host does not appear within 15 minutes.
    """
    peers = Peers(hosts)
    try:
        peers.connect()
        yield peers
    except BaseException as error:
        peers.close(error)
        raise
    peers.close()
