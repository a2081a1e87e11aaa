"""The job's log, with the built-in algorithms' prefix.

Metric definitions and dashboards match the text after the prefix, so it must not change; see docs/metrics.md.
"""

import io
import logging
import sys
import time

LOG = logging.getLogger("train")
SILENCE = 20.0  # seconds without a log line, after which a job looks stuck


def configure() -> None:
    """Send the job's log to standard output as `[MM/DD/YYYY HH:MM:SS LEVEL thread] text`; safe to repeat."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a line with a file name that is not UTF-8 would be lost otherwise
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
    """Decides when to log the speed: every nth batch, as the built-in does, and after a long silence."""

    def __init__(self, every: int) -> None:
        self._every, self._logged = every, time.monotonic()

    def due(self, count: int) -> bool:
        """Return whether to log now: if `count` is a multiple of n, or after SILENCE seconds without a line."""
        now = time.monotonic()
        if not (count and count % self._every == 0) and now - self._logged < SILENCE:
            return False
        self._logged = now
        return True


class Progress:
    """Logs the rate and remaining time of a task of `total` items, at most every `every` seconds."""

    def __init__(self, what: str, total: int, every: float = 10.0) -> None:
        self._what, self._total, self._every = what, total, every
        self._start = self._logged = time.monotonic()

    def done(self, count: int) -> None:
        """Log that `count` items are done, if a line is due."""
        now = time.monotonic()
        if now - self._logged < self._every:
            return
        self._logged = now
        rate = count / (now - self._start)
        left = duration((self._total - count) / rate) if rate > 0 else "unknown"
        LOG.info("%s: %d of %d, %.1f/s, time left %s", self._what, count, self._total, rate, left)
