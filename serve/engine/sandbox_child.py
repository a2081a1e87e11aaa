"""`python -m serve.engine.sandbox_child SOCKET BYTES SECONDS`: the child process of a Sandbox, which runs its jobs.

It may end at any time: the kernel kills it first when memory runs out, and a timer ends it if a job takes too much CPU
time.
"""

import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

from serve import machine
from serve.engine.sandbox_jobs import JOBS, Document, Message, Note

FRAME = struct.Struct("<II")
"""The header of each message: the length of its JSON document and of the bytes that follow."""

EXHAUSTED = 3
"""The exit code if there was not enough memory for a job's data."""


def send(connection: socket.socket, document: Document, data: bytes = b"") -> None:
    """Write one message. Raises OSError if the other side is gone."""
    text = json.dumps(document).encode()
    connection.sendall(FRAME.pack(len(text), len(data)) + text)
    connection.sendall(data)


def receive(stream: BinaryIO) -> Message | None:
    """Read one message. Return None if the other side has closed the connection."""
    frame = stream.read(FRAME.size)
    if len(frame) < FRAME.size:
        return None
    lengths = FRAME.unpack(frame)
    text, data = (stream.read(length) for length in lengths)
    return (json.loads(text), data) if (len(text), len(data)) == lengths else None


def main(arguments: list[str]) -> None:
    """Run jobs until the parent ends. SIGPROF ends the process if a job exceeds its CPU time."""
    connection = socket.socket(fileno=int(arguments[0]))
    seconds = float(arguments[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # after Ctrl-C in a terminal, the server first finishes its requests
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _limit(int(arguments[1]))
    stream = connection.makefile("rb")
    try:
        while (message := receive(stream)) is not None:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            message = _run(*message, lambda note: send(connection, {"note": note}))
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(connection, *message)
    except MemoryError:
        sys.exit(EXHAUSTED)


def _run(document: Document, data: bytes, note: Note) -> Message:
    try:
        return JOBS[document["job"]](document["arguments"], data, note)
    except MemoryError:
        return {"exhausted": "memory"}, b""
    except Exception:  # noqa: BLE001 - a bug in our code, which the parent raises and logs
        return {"failed": traceback.format_exc()}, b""


def _limit(memory: int) -> None:
    """Limit memory to `memory` bytes more than now, disable core dumps, and let the kernel kill this process first."""
    machine.be_killed_first(1000)
    loaded = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (loaded + memory, loaded + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
