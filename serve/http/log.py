"""The log: whatever text a line carries, from a client, a model's files or a library, it stays one short line."""

import json
import logging
import re
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

LONGEST = 1000
"""Characters of a line's message."""
_PLAIN = re.compile(r"[\w.:/+@-]+")  # a value that needs no quotes
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


def fields(of_record: Mapping[str, object]) -> Mapping[str, object]:
    """The `extra` of a call of a logger: fields of a line beside its message. The caller has made texts printable."""
    return {"fields": of_record}


class TextFormatter(logging.Formatter):
    """A line of text: after the message the fields that are not empty, but for those that the message begins with."""

    _IN_MESSAGE = frozenset({"method", "path", "status", "reason"})

    def formatMessage(self, record: logging.LogRecord) -> str:
        """As Formatter's, which knows the time and the level."""
        of_record: Mapping[str, object] = getattr(record, "fields", {})
        shown = [
            f"{name}={value if _PLAIN.fullmatch(str(value)) else json.dumps(value)}"
            for name, value in of_record.items()
            if name not in self._IN_MESSAGE and value != ""
        ]
        return super().formatMessage(record) + (f" [{' '.join(shown)}]" if shown else "")


class JsonFormatter(logging.Formatter):
    """A line of JSON: `time` in UTC, `level`, `process`, `message`, the fields, and `traceback` for an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """As Formatter's."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line)


def write_json(handlers: Iterable[logging.Handler]) -> None:
    """Have these handlers write lines of JSON."""
    for handler in handlers:
        handler.setFormatter(JsonFormatter())
