"""Runs potentially expensive work for requests in child processes with limits on memory and CPU time."""

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
# A job needs only one thread. BLAS libraries would reserve address space for more, which counts as memory.
_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class Exhausted(Exception):
    """A job has exceeded a limit. `what` is "memory" or "time"; `notes` is what the job had reported by then."""

    def __init__(self, what: str, notes: Document) -> None:
        super().__init__(what)
        self.what = what
        self.notes = notes


class Crashed(Exception):
    """A job's process was ended by a signal other than those of the limits: a library crashed on its data."""


class Sandbox:
    """One child process per concurrent job, started on demand and kept for the next job. Thread-safe."""

    def __init__(self, memory: int, seconds: float, jobs: int, queue: int, patience: float) -> None:
        """Each job may take `memory` bytes and `seconds` of CPU time.

        At most `jobs` jobs run, and `queue` jobs wait for up to `patience` seconds.
        """
        self.memory, self.seconds = memory, seconds
        self._gate, self._patience = Gate(jobs, queue), patience
        self._idle: list[_Child] = []
        self._lock = Lock()

    def run(self, job: str, arguments: Document, data: bytes) -> Message:
        """Run a job of serve.engine.sandbox_jobs.JOBS; return its notes and result, and its output bytes.

        Raises Unavailable if the sandbox is busy or cannot start a process, Exhausted, Crashed, and RuntimeError with
        the child's traceback for a bug in our code.
        """
        with self._gate.admit(job):
            return self._gate.predict(job, self._patience, self._run, job, arguments, data)

    def _run(self, job: str, arguments: Document, data: bytes) -> Message:
        child = self._take()
        try:
            result = child.run(job, arguments, data)
        except BaseException:
            child.kill()
            raise
        with self._lock:
            self._idle.append(child)
        return result

    def close(self) -> None:
        """Kill the idle children. When the parent process ends, they end by themselves."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()

    def _take(self) -> "_Child":
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                try:
                    return _Child(self.memory, self.seconds)
                except OSError as error:
                    message = f"The server cannot start a process to read this ({error.strerror})."
                    raise Unavailable(message, "process") from error
            if child.is_alive():
                return child
            child.kill()  # the kernel killed it for its memory while it was idle


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
                stderr=subprocess.DEVNULL,  # image libraries write messages that quote untrusted input
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(self, job: str, arguments: Document, data: bytes) -> Message:
        notes: Document = {}
        try:
            send(self._connection, {"job": job, "arguments": arguments}, data)
            while (message := receive(self._stream)) is not None and "note" in message[0]:
                notes |= message[0]["note"]
        except ConnectionError:  # the child ended before it had read everything
            message = None
        if message is None:
            self._raise_exit_reason(notes)
        result, content = message
        if "exhausted" in result:
            raise Exhausted(result["exhausted"], notes)
        if "failed" in result:
            raise RuntimeError(result["failed"])
        return notes | result, content

    def _raise_exit_reason(self, notes: Document) -> NoReturn:
        code = self._process.wait()
        if code == -signal.SIGPROF:
            raise Exhausted("time", notes)
        if code in (-signal.SIGKILL, EXHAUSTED):  # killed by the kernel, or exited for lack of memory
            raise Exhausted("memory", notes)
        if code < 0:
            raise Crashed(f"signal {-code}")
        raise RuntimeError(f"The sandbox ended with exit code {code}.")

    def kill(self) -> None:
        self._stream.close()
        self._connection.close()
        self._process.kill()
        self._process.wait()
