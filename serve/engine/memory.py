"""Memory for loading models: a load begins when what it may take at its peak is free, and not held by another one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve import machine
from serve.http.errors import OutOfMemory

PEAK = 4
"""Bytes that loading a graph takes for each byte of its file: 2.7 to 3.95 were measured of graphs of 9 to 132 MB, of
which 1.01 to 1.13 stay."""
BASE = 20 * 10**6
"""And bytes for a graph of any size."""


class Memory:
    """What is free, less what is held back for requests and what loads under way have reserved."""

    def __init__(self, held_back: int, free: Callable[[], int] = machine.free_memory_bytes) -> None:
        self._free, self._held_back = free, held_back
        self._reserved = 0
        self._changed = threading.Condition()

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Have `size` bytes while the block runs. Raises OutOfMemory.

        Where only the loads under way are in the way, waits for one to end: it may take less than it has reserved.
        """
        with self._changed:
            while size > (left := self._free() - self._held_back - self._reserved):
                if not self._reserved:
                    raise OutOfMemory(
                        f"Loading this model may take {size / 1e6:.0f} MB, and {max(0, left) / 1e6:.0f} MB are free "
                        f"beside {self._held_back / 1e6:.0f} MB for requests; unload another one, or give the "
                        "container more memory."
                    )
                self._changed.wait()
            self._reserved += size
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= size
                self._changed.notify_all()


def to_load(graph_bytes: int) -> int:
    """Bytes that loading graphs of so many bytes may take."""
    return int(PEAK * graph_bytes) + BASE
