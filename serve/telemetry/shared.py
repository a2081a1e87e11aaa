"""The metrics of several worker processes, stored in files in one folder and added up by the worker that is scraped.

Each running worker has a unique number, which is part of its file names. A new worker reuses the number and the files
of one that has ended. With process ids, the library's default, the files would accumulate.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by Prometheus's client library


class Shared:
    """The folder, and the `number` of this process in it. Created in the main process before the workers.

    The folder is in /tmp if that is writable. Docker's /dev/shm has only 64 MB, and a process that writes to a mapped
    file is killed if the file system is full.
    """

    def __init__(self) -> None:
        self.number = 0
        parent = next((path for path in ("/tmp", "/dev/shm") if os.access(path, os.W_OK)), None)
        self._folder = tempfile.mkdtemp(prefix="serve-metrics-", dir=parent)

    def free(self, used: Iterable[int]) -> int:
        """Return the lowest number that is not used."""
        numbers = set(used)
        return next(number for number in count() if number not in numbers)

    def use(self) -> None:
        """Store all metrics that this process creates from now on in the folder. Called in a worker."""
        os.environ[_VARIABLE] = self._folder
        from prometheus_client import values

        values.ValueClass = values.MultiProcessValue(lambda: self.number)

    def registry(self) -> "CollectorRegistry":
        """Return a registry with the sums over all workers."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)
        return registry

    def ended(self, number: int) -> None:
        """Drop the gauges of a worker that has ended, such as its requests in progress."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(number, self._folder)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
