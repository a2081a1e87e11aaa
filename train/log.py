"""The job's log: one line at a time, flushed, with the prefix that the built-in algorithms print.

Metric definitions and dashboards match what follows the prefix, so those texts are fixed; see docs/metrics.md.
"""

import io
import logging
import sys
import time

LOG = logging.getLogger("train")
SILENCE = 20.0  # seconds without a line, after which a reader wonders whether the job still lives


def configure() -> None:
    """Send the job's log to standard output as `[MM/DD/YYYY HH:MM:SS LEVEL thread] text`; safe to repeat."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # else a file name that is no UTF-8 would cost the log its line
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s %(thread)d] %(message)s", "%m/%d/%Y %H:%M:%S"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def duration(seconds: float) -> str:
    """Return whole seconds as `H:MM:SS`."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


class LogInterval:
    """When a line about the speed of batches is due: as the built-in has it, and also when it has long been silent."""

    def __init__(self, every: int) -> None:
        self._every, self._said = every, time.monotonic()

    def due(self, count: int) -> bool:
        """Return whether to say something now: at every nth `count`, and after SILENCE seconds without a line."""
        now = time.monotonic()
        if not (count and count % self._every == 0) and now - self._said < SILENCE:
            return False
        self._said = now
        return True


class Progress:
    """Rate and time left of a piece of work of `total` items, said at most every `every` seconds."""

    def __init__(self, what: str, total: int, every: float = 10.0) -> None:
        self._what, self._total, self._every = what, total, every
        self._start = self._said = time.monotonic()

    def done(self, count: int) -> None:
        """Say how far the work is, if it is time to."""
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        rate = count / (now - self._start)
        left = duration((self._total - count) / rate) if rate > 0 else "unknown"
        LOG.info("%s: %d of %d, %.1f/s, time left %s", self._what, count, self._total, rate, left)
