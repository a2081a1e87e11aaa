"""Reserves memory for loading models: a load starts when its peak memory is free and not reserved by another load."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve import machine
from serve.http.errors import OutOfMemory

PEAK = 4
"""Peak memory for loading a graph, per byte of its file. Measured with graphs of 9 to 132 MB: 2.7 to 3.95 at the peak,
1.01 to 1.13 afterwards."""
BASE = 20 * 10**6
"""Additional peak memory in bytes, independent of the size of the graph."""


class Memory:
    """The free memory, minus what is held back for requests and what running loads have reserved."""

    def __init__(self, held_back: int, free: Callable[[], int] = machine.free_memory_bytes) -> None:
        self._free, self._held_back = free, held_back
        self._reserved = 0
        self._changed = threading.Condition()

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Reserve `size` bytes while the block runs. Raises OutOfMemory.

        If other loads are running, wait until one has ended, because it may need less memory than it has reserved.
        """
        with self._changed:
            while size > (available := self._free() - self._held_back - self._reserved):
                if not self._reserved:
                    raise OutOfMemory(
                        f"Loading this model may take {size / 1e6:.0f} MB, but only {max(0, available) / 1e6:.0f} MB "
                        f"are free, not counting {self._held_back / 1e6:.0f} MB for requests; unload another model, or "
                        "give the container more memory."
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
    """Return the bytes of memory that loading graphs of `graph_bytes` bytes may take."""
    return int(PEAK * graph_bytes) + BASE
