"""The log: whatever text a line carries, from a client, a model's files or a library, it stays one short line."""

import logging
import traceback
from typing import Any

LONGEST = 1000
"""Characters of a line's message."""
_TRACEBACK_LINES = 60  # the last ones, which say where


def printable(text: str, longest: int = LONGEST) -> str:
    """`text`, cut to `longest` characters, with line feeds, escape sequences and the like written out: \\n, \\x1b."""
    shown = text[:longest]
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in shown)
    return shown + "..." * (len(text) > longest)


class Record(logging.LogRecord):
    """A record of any logger, gunicorn's and Python's warnings too, that is safe to be written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            lines = "".join(traceback.format_exception(*self.exc_info)).splitlines()[-_TRACEBACK_LINES:]
            # Behind a bar, so that an exception's text cannot pass for a line of its own.
            self.exc_text = "\n".join(f"| {printable(line)}" for line in lines)

    def getMessage(self) -> str:
        """The message with its arguments, as one line."""
        return printable(super().getMessage().strip())


def install() -> None:
    """Make every record of this process one of ours, and Python's warnings records."""
    logging.setLogRecordFactory(Record)
    logging.captureWarnings(True)
