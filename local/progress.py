"""Progress lines with a count, a rate and the time left."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from serve.words import plural

_TERMINAL_SECONDS = 0.1
_LOG_SECONDS = 5.0


class Progress:
    """A progress line. On a terminal it is updated in place; elsewhere a new line is printed every five seconds.

    `what` starts the line. `total` is the final count, None if unknown. `unit` is a noun like "photo", or "B" for
    bytes. Use it as a context manager, which ends the line.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        unit: str,
        already: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._unit, self._already = what, total, unit, already
        self._stream = stream or sys.stderr
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._start = self._printed = clock()
        self._count = already
        self._width = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._print()
            self._stream.write("\n")
            self._stream.flush()

    def done(self, count: int) -> None:
        """Set the count, and print the line if it is due."""
        self._count = count
        if self._clock() - self._printed >= (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            self._print()

    def line(self) -> str:
        """Return the current line: `Drawing 120 of 450 photos (27 %), 55 photos/s, 6 s left`."""
        seconds = self._clock() - self._start
        rate = (self._count - self._already) / seconds if seconds > 0 else 0.0
        parts = [f"{self._what} {self._share()}"]
        if rate > 0:
            parts.append(f"{megabytes(rate)}/s" if self._unit == "B" else f"{rate:.0f} {self._unit}s/s")
            if self._total is not None and self._count < self._total:
                parts.append(f"{duration((self._total - self._count) / rate)} left")
        return ", ".join(parts)

    def _share(self) -> str:
        in_bytes = self._unit == "B"
        if self._total is None:
            return megabytes(self._count) if in_bytes else plural(self._count, self._unit)
        count, total = (
            (megabytes(self._count), megabytes(self._total))
            if in_bytes
            else (str(self._count), plural(self._total, self._unit))
        )
        percent = 100 * self._count // self._total if self._total else 100
        return f"{count} of {total} ({percent} %)"

    def _print(self) -> None:
        self._printed = self._clock()
        text = self.line()
        if self._terminal:
            self._stream.write(f"\r{text:<{self._width}}")
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Format a duration: `8 s`, `2 min 05 s`, `3 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def megabytes(count: float) -> str:
    """Format a number of bytes in decimal megabytes: `79.2 MB`."""
    return f"{count / 1e6:.1f} MB"
