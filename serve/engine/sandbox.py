"""Child processes for work whose cost a request decides: each job has so much memory and processor time, no more."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import NoReturn

from serve.engine.sandbox_child import EXHAUSTED, receive, send
from serve.engine.sandbox_jobs import Document, Message
from serve.http.admission import Gate
from serve.http.errors import Unavailable

_PROGRAM = Path(__file__).resolve().parents[2]
# One thread is one job's; a BLAS would reserve address space for more of them, which counts as memory.
_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class Exhausted(Exception):
    """A job needed more than it may have. `what` is "memory" or "time", `notes` what the job said before."""

    def __init__(self, what: str, notes: Document) -> None:
        super().__init__(what)
        self.what = what
        self.notes = notes


class Crashed(Exception):
    """A job ended its process by another signal than those of the limits, so a library broke on its data."""


class Sandbox:
    """A child for each job at once, started when it is needed and kept for the next one; safe to share by threads."""

    def __init__(self, memory: int, seconds: float, at_once: int, patience: float) -> None:
        """`memory` bytes and `seconds` of processor time are what a job may take.

        There are `at_once` jobs, and as many that wait for up to `patience` seconds: the expensive requests of one
        client leave room for the others'.
        """
        self.memory, self.seconds = memory, seconds
        self._gate, self._patience = Gate(at_once, at_once), patience
        self._idle: list[_Child] = []
        self._lock = Lock()

    def run(self, job: str, arguments: Document, data: bytes) -> Message:
        """Do one of serve.engine.sandbox_jobs.JOBS; return what it noted on the way and found, and the bytes it made.

        Raises Unavailable when there is no room or no process can be started, Exhausted, Crashed, and RuntimeError
        with the child's traceback for a fault of ours.
        """
        with self._gate.entered(job):
            return self._gate.predict(job, self._patience, self._run, job, arguments, data)

    def _run(self, job: str, arguments: Document, data: bytes) -> Message:
        child = self._take()
        try:
            answer = child.run(job, arguments, data)
        except BaseException:
            child.end()
            raise
        with self._lock:
            self._idle.append(child)
        return answer

    def close(self) -> None:
        """End the children that wait for a job. Those of a process that ends do so by themselves."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def _take(self) -> "_Child":
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                try:
                    return _Child(self.memory, self.seconds)
                except OSError as error:
                    sentence = f"The server cannot start a process to read this ({error.strerror})."
                    raise Unavailable(sentence, "process") from error
            if child.is_alive():
                return child
            child.end()  # the kernel took its memory while it waited


class _Child:
    def __init__(self, memory: int, seconds: float) -> None:
        self._connection, theirs = socket.socketpair()
        self._stream = self._connection.makefile("rb")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serve.engine.sandbox_child", str(theirs.fileno()), str(memory), str(seconds)],
                cwd=_PROGRAM,
                env=os.environ | _THREADS | {"PYTHONPATH": str(_PROGRAM)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # image libraries write there what bytes from strangers make them say
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(self, job: str, arguments: Document, data: bytes) -> Message:
        notes: Document = {}
        try:
            send(self._connection, {"job": job, "arguments": arguments}, data)
            while (message := receive(self._stream)) is not None and "note" in message[0]:
                notes |= message[0]["note"]
        except ConnectionError:  # it ended before it had read all
            message = None
        if message is None:
            self._raise_end(notes)
        found, content = message
        if "exhausted" in found:
            raise Exhausted(found["exhausted"], notes)
        if "failed" in found:
            raise RuntimeError(found["failed"])
        return notes | found, content

    def _raise_end(self, notes: Document) -> NoReturn:
        code = self._process.wait()
        if code == -signal.SIGPROF:
            raise Exhausted("time", notes)
        if code in (-signal.SIGKILL, EXHAUSTED):  # by the kernel, which needs memory, or by itself
            raise Exhausted("memory", notes)
        if code < 0:
            raise Crashed(f"signal {-code}")
        raise RuntimeError(f"The sandbox ended with exit code {code}.")

    def end(self) -> None:
        self._stream.close()
        self._connection.close()
        self._process.kill()
        self._process.wait()
