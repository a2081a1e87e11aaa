"""A connection between two hosts of a job that sends and receives frames, with timeouts."""

import contextlib
import queue
import socket
import struct
import threading
from enum import IntEnum

SILENCE = 30.0
"""A host that sends nothing for this many seconds counts as lost. Each host sends a heartbeat every second."""
_HEADER = struct.Struct("<BQ")
_MAX_GREETING = 1 << 16  # bytes in a frame from a host that is not known yet


class Kind(IntEnum):
    """The type of a frame."""

    HELLO = 1  # the sender's name and hosts, JSON
    WELCOME = 2
    BEAT = 3  # a heartbeat with the number of started plus finished exchanges, 8 bytes
    DATA = 4
    ENDED = 5  # a host was asked to stop or failed, JSON
    LEFT = 6  # the sender is done


class Link:
    """A connection to the host `name`. Several threads may send, but only one may receive."""

    def __init__(self, name: str, connected: socket.socket) -> None:
        self.name = name
        self.inbox: queue.Queue[bytes] = queue.Queue()
        """The contents of the received DATA frames, in order."""
        self.exchanges = 0
        """The number in the last received BEAT frame."""
        self._socket, self._lock = connected, threading.Lock()
        connected.settimeout(SILENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def addresses(self) -> tuple[str, str]:
        """The IP addresses of this host and of the other host."""
        return self._socket.getsockname()[0], self._socket.getpeername()[0]

    def send(self, kind: Kind, content: bytes = b"") -> None:
        """Send a frame. Raises OSError, and TimeoutError after SILENCE seconds."""
        with self._lock:
            self._socket.sendall(_HEADER.pack(kind, len(content)) + content)

    def send_if_open(self, kind: Kind, content: bytes = b"") -> None:
        """Send a frame to a host that may be gone. Ignore errors: the receiving thread reports them."""
        with contextlib.suppress(OSError):
            self.send(kind, content)

    def receive(self, limit: int = 1 << 40) -> tuple[Kind, bytes]:
        """Return the next frame.

        Raises EOFError if the connection ends, TimeoutError after SILENCE seconds without data, ValueError for an
        invalid frame or one of more than `limit` bytes, and OSError.
        """
        kind, size = _HEADER.unpack(self._read(_HEADER.size))
        if size > limit:
            raise ValueError(f"a frame of {size} bytes")
        return Kind(kind), self._read(size)

    def greeting(self, seconds: float) -> tuple[Kind, bytes]:
        """Return the first frame of an unknown host, within `seconds`. Raises the same errors as `receive`."""
        self._socket.settimeout(seconds)
        frame = self.receive(_MAX_GREETING)
        self._socket.settimeout(SILENCE)
        return frame

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self._socket.close()

    def _read(self, size: int) -> bytes:
        content = bytearray(size)
        view = memoryview(content)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError("its connection ended")
            view = view[count:]
        return bytes(content)
