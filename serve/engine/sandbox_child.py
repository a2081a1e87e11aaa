"""`python -m serve.engine.sandbox_child SOCKET BYTES SECONDS`: the child of a Sandbox, one job after another.

It may be ended at any moment: by the kernel for its memory, by its own timer for its processor time.
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
"""Before each message: the length of its JSON document, and of the bytes behind it."""

EXHAUSTED = 3
"""Exit code when there was no memory for a job's own data."""


def send(connection: socket.socket, document: Document, data: bytes = b"") -> None:
    """Write one message. Raises OSError when nobody reads it any more."""
    text = json.dumps(document).encode()
    connection.sendall(FRAME.pack(len(text), len(data)) + text)
    connection.sendall(data)


def receive(stream: BinaryIO) -> Message | None:
    """Read one message; None when the other side has ended."""
    frame = stream.read(FRAME.size)
    if len(frame) < FRAME.size:
        return None
    lengths = FRAME.unpack(frame)
    text, data = (stream.read(length) for length in lengths)
    return (json.loads(text), data) if (len(text), len(data)) == lengths else None


def main(arguments: list[str]) -> None:
    """Do jobs until the parent ends. A job beyond its seconds ends the process by SIGPROF."""
    connection = socket.socket(fileno=int(arguments[0]))
    seconds = float(arguments[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the server, which finishes its requests
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _limit(int(arguments[1]))
    stream = connection.makefile("rb")
    try:
        while (message := receive(stream)) is not None:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            message = _done(*message, lambda note: send(connection, {"note": note}))
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(connection, *message)
    except MemoryError:
        sys.exit(EXHAUSTED)


def _done(document: Document, data: bytes, note: Note) -> Message:
    try:
        return JOBS[document["job"]](document["arguments"], data, note)
    except MemoryError:
        return {"exhausted": "memory"}, b""
    except Exception:  # noqa: BLE001 - a fault of ours, which the parent raises and logs
        return {"failed": traceback.format_exc()}, b""


def _limit(memory: int) -> None:
    """Take no more than `memory` bytes beside what is loaded already, leave no core file, and be the first to go."""
    machine.be_killed_first(1000)
    loaded = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (loaded + memory, loaded + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
