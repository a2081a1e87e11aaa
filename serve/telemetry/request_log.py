"""The request log: one line for each request, or only for failed ones, as text or JSON, without data from bodies."""

import logging
import threading
import time
import uuid
from collections.abc import Callable

from serve.http.log import fields, printable
from serve.settings import ALL, ERRORS
from serve.telemetry.trace import STAGES, Trace

log = logging.getLogger("serve")

SILENT_SECONDS = 5.0
"""Minimum time between two lines about 503s, because a busy server may refuse thousands of requests per second."""

_MAX_CHARS = 300  # of a path, and of a reason
_FREQUENT = ("/ping", "/metrics")


class RequestLog:
    """Logs the requests that `which` selects: all, errors (status 400 and above), or none.

    With errors, there is at most one line about 503s in SILENT_SECONDS, which includes the number of skipped lines.
    SageMaker requests /ping and /metrics all the time, so these are only written if they are refused.
    """

    def __init__(self, which: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._which = which
        self._clock = clock
        self._lock = threading.Lock()
        self._silent_until = -float("inf")
        self._skipped = 0

    def write(self, trace: Trace) -> None:
        """Write a line about a finished request, depending on the settings."""
        refused = trace.status >= 400
        if not (refused and self._which == ERRORS) and self._which != ALL:
            return
        if not refused and trace.path in _FREQUENT:
            return
        skipped = 0
        if trace.status == 503 and self._which == ERRORS:
            with self._lock:
                now = self._clock()
                if now < self._silent_until:
                    self._skipped += 1
                    return
                skipped, self._skipped, self._silent_until = self._skipped, 0, now + SILENT_SECONDS
        _write(trace, skipped)


def _write(trace: Trace, skipped: int) -> None:
    method, path, reason = (printable(text, _MAX_CHARS) for text in (trace.method, trace.path, trace.reason))
    message = " ".join(filter(None, (str(trace.status), method, path)))
    if reason:
        message += f": {reason}"
    more = f" ({skipped} more since the last such line)" if skipped else ""
    level = logging.WARNING if trace.status >= 400 else logging.INFO
    log.log(level, "%s%s", message, more, extra=fields(_fields(trace, method, path, reason)))


def _fields(trace: Trace, method: str, path: str, reason: str) -> dict[str, object]:
    milliseconds = {stage: _milliseconds(trace.stages[stage]) for stage in STAGES if stage in trace.stages}
    return {
        "id": printable(trace.id, _MAX_CHARS) or uuid.uuid4().hex,
        "model": trace.model,
        "method": method,
        "path": path,
        "status": trace.status,
        "reason": reason,
        "unavailable": trace.unavailable,
        "bytes_in": trace.received,
        "bytes_out": trace.sent,
        "ms": _milliseconds(trace.seconds),
        **{f"{stage}_ms": duration for stage, duration in milliseconds.items()},
    }


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
