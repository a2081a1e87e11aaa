"""The request log: one line for each request, or for each refused one, as text or as JSON; nothing of a body."""

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
"""After a line about a 503 there is none for so long: a full server refuses thousands of requests a second."""

_LONGEST = 300  # characters of a path, and of a reason
_OF_THE_PLATFORM = ("/ping", "/metrics")


class RequestLog:
    """Writes `which` requests: all, errors, which are those with a status from 400 on, or none.

    Of 503s, errors are a line in SILENT_SECONDS, which says how many others there were. The platform asks for /ping and
    /metrics again and again: they are written where they are refused.
    """

    def __init__(self, which: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._which = which
        self._clock = clock
        self._lock = threading.Lock()
        self._silent_until = -float("inf")
        self._unsaid = 0

    def write(self, trace: Trace) -> None:
        """Write a request that is answered, if it is one of those."""
        refused = trace.status >= 400
        if not (refused and self._which == ERRORS) and self._which != ALL:
            return
        if not refused and trace.path in _OF_THE_PLATFORM:
            return
        unsaid = 0
        if trace.status == 503 and self._which == ERRORS:
            with self._lock:
                now = self._clock()
                if now < self._silent_until:
                    self._unsaid += 1
                    return
                unsaid, self._unsaid, self._silent_until = self._unsaid, 0, now + SILENT_SECONDS
        _write(trace, unsaid)


def _write(trace: Trace, unsaid: int) -> None:
    method, path, reason = (printable(text, _LONGEST) for text in (trace.method, trace.path, trace.reason))
    message = " ".join(filter(None, (str(trace.status), method, path))) + f": {reason}" * bool(reason)
    more = f" ({unsaid} more since the last such line)" if unsaid else ""
    level = logging.WARNING if trace.status >= 400 else logging.INFO
    log.log(level, "%s%s", message, more, extra=fields(_fields(trace, method, path, reason)))


def _fields(trace: Trace, method: str, path: str, reason: str) -> dict[str, object]:
    milliseconds = {stage: _milliseconds(trace.stages[stage]) for stage in STAGES if stage in trace.stages}
    return {
        "id": printable(trace.id, _LONGEST) or uuid.uuid4().hex,
        "model": trace.model,
        "method": method,
        "path": path,
        "status": trace.status,
        "reason": reason,
        "unavailable": trace.unavailable,
        "bytes_in": trace.received,
        "bytes_out": trace.sent,
        "ms": _milliseconds(trace.seconds),
        **{f"{stage}_ms": spent for stage, spent in milliseconds.items()},
    }


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
