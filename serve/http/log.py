"""The log. Every message is a single short line, even if it quotes text from a client, a model file or a library."""

import json
import logging
import re
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

MAX_MESSAGE = 1000
"""Maximum number of characters in a message."""
_PLAIN = re.compile(r"[\w.:/+@-]+")  # values that need no quotes
_TRACEBACK_LINES = 60  # the last ones, which show the origin


def printable(text: str, limit: int = MAX_MESSAGE) -> str:
    """Cut `text` to `limit` characters, and escape line feeds, control characters and the like: \\n, \\x1b."""
    short = text[:limit]
    if not short.isprintable():
        short = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in short)
    return f"{short}..." if len(text) > limit else short


class Record(logging.LogRecord):
    """A log record that is safe to write, for every logger, including gunicorn's and Python's warnings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            lines = "".join(traceback.format_exception(*self.exc_info)).splitlines()[-_TRACEBACK_LINES:]
            # The bar prevents an exception's text from looking like a separate log line.
            self.exc_text = "\n".join(f"| {printable(line)}" for line in lines)

    def getMessage(self) -> str:
        """Return the formatted message as one line."""
        return printable(super().getMessage().strip())


def install() -> None:
    """Use Record for all log records of this process, and log Python's warnings."""
    logging.setLogRecordFactory(Record)
    logging.captureWarnings(True)


def fields(values: Mapping[str, object]) -> Mapping[str, object]:
    """Return the `extra` argument of a logging call that adds fields to a line. Their values must be printable."""
    return {"fields": values}


class TextFormatter(logging.Formatter):
    """Formats a line of text: the message, then the non-empty fields that are not part of the message."""

    _IN_MESSAGE = frozenset({"method", "path", "status", "reason"})

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format the message and append the fields."""
        values: Mapping[str, object] = getattr(record, "fields", {})
        texts = [
            f"{name}={value if _PLAIN.fullmatch(str(value)) else json.dumps(value)}"
            for name, value in values.items()
            if name not in self._IN_MESSAGE and value != ""
        ]
        return super().formatMessage(record) + (f" [{' '.join(texts)}]" if texts else "")


class JsonFormatter(logging.Formatter):
    """Formats a line of JSON: `time` in UTC, `level`, `process`, `message`, the fields, and `traceback` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
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
    """Make these handlers write JSON lines."""
    for handler in handlers:
        handler.setFormatter(JsonFormatter())
