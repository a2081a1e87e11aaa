"""A connection between two hosts of a job: frames of a kind and bytes, with an end to all waiting."""

import contextlib
import queue
import socket
import struct
import threading
from enum import IntEnum

SILENCE = 30.0
"""Seconds after which a host that has sent nothing counts as lost; each sends a beat every second."""
_HEADER = struct.Struct("<BQ")
_GREETING = 1 << 16  # bytes of a frame of a host that is not known yet


class Kind(IntEnum):
    """What a frame holds."""

    HELLO = 1  # who I am, JSON
    WELCOME = 2
    BEAT = 3  # how many exchanges have begun and ended, 8 bytes
    DATA = 4
    ENDED = 5  # that a host stops or has failed, JSON
    LEFT = 6  # that it has done its part


class Link:
    """A connection to the host `name`. Sending is safe from several threads, receiving is for one."""

    def __init__(self, name: str, connected: socket.socket) -> None:
        self.name = name
        self.inbox: queue.Queue[bytes] = queue.Queue()
        """The content of DATA frames, in their order."""
        self.exchanges = 0
        """The number in its last BEAT."""
        self._socket, self._lock = connected, threading.Lock()
        connected.settimeout(SILENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def addresses(self) -> tuple[str, str]:
        """The IP addresses of this host and of the other one."""
        return self._socket.getsockname()[0], self._socket.getpeername()[0]

    def send(self, kind: Kind, content: bytes = b"") -> None:
        """Send a frame. Raises OSError, a TimeoutError after SILENCE seconds."""
        with self._lock:
            self._socket.sendall(_HEADER.pack(kind, len(content)) + content)

    def send_if_open(self, kind: Kind, content: bytes = b"") -> None:
        """Send a frame to a host that may be gone, which the thread that receives from it notices."""
        with contextlib.suppress(OSError):
            self.send(kind, content)

    def receive(self, limit: int = 1 << 40) -> tuple[Kind, bytes]:
        """Return the next frame.

        Raises EOFError at the end, TimeoutError after SILENCE seconds without a byte, ValueError for what is not a
        frame of at most `limit` bytes, and OSError.
        """
        kind, size = _HEADER.unpack(self._read(_HEADER.size))
        if size > limit:
            raise ValueError(f"a frame of {size} bytes")
        return Kind(kind), self._read(size)

    def greeting(self, seconds: float) -> tuple[Kind, bytes]:
        """Return the first frame of a stranger, who has `seconds` to send it. Raises as `receive`."""
        self._socket.settimeout(seconds)
        found = self.receive(_GREETING)
        self._socket.settimeout(SILENCE)
        return found

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self._socket.close()

    def _read(self, size: int) -> bytes:
        found = bytearray(size)
        view = memoryview(found)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError("its connection ended")
            view = view[count:]
        return bytes(found)
