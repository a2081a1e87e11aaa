"""The metrics of several worker processes: files of one folder, which the one that is asked adds up.

A worker has a number that no other living one has, and its files have that number: who follows a worker that was killed
counts on in its files. By process ids, as is the library's default, each worker that ends would leave files behind.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # Prometheus's client library reads it


class Shared:
    """The folder, and the `number` of this process in it. Made in the main process, before there is a worker.

    It is below /tmp where that can be written: Docker's /dev/shm has 64 MB, and a process that writes to a mapped file
    where there is no room is killed.
    """

    def __init__(self) -> None:
        self.number = 0
        place = next((path for path in ("/tmp", "/dev/shm") if os.access(path, os.W_OK)), None)
        self._folder = tempfile.mkdtemp(prefix="serve-metrics-", dir=place)

    def free(self, taken: Iterable[int]) -> int:
        """The lowest number that is not taken."""
        used = set(taken)
        return next(number for number in count() if number not in used)

    def use(self) -> None:
        """Have the metrics that this process makes from now on be kept in the folder. Called in a worker."""
        os.environ[_VARIABLE] = self._folder
        from prometheus_client import values

        values.ValueClass = values.MultiProcessValue(lambda: self.number)

    def registry(self) -> "CollectorRegistry":
        """What all workers have counted."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)
        return registry

    def ended(self, number: int) -> None:
        """A worker has ended: leave out what it said of itself alone, as that a request is in progress there."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(number, self._folder)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
