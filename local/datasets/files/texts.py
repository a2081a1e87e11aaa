"""Read files of a data set as bytes or text, whole or only the start."""

import codecs
from pathlib import Path

from local.datasets.dataset import class_name
from local.errors import UserError

_HEAD = 65_536
_MAX_BYTES = 2_000_000_000


def read_bytes(path: Path, source: str, max_bytes: int = _MAX_BYTES) -> bytes:
    """Read a file. Raise UserError naming `source` if it cannot be read or has more than `max_bytes` bytes."""
    try:
        if path.stat().st_size > max_bytes:
            raise UserError(f"{source} has more than {max_bytes} bytes: check that it is the right file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{source} cannot be read ({error.strerror}): fix or remove it") from None


def first_bytes(path: Path, count: int = _HEAD) -> bytes:
    """Return the first `count` bytes of a file, or b"" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def first_lines(path: Path) -> str:
    """Return the first complete lines of a text file. Invalid bytes become U+FFFD."""
    data = first_bytes(path)
    text = codecs.getincrementaldecoder(_encoding(data))("replace").decode(data)
    return text if len(data) < _HEAD else text[: text.rfind("\n") + 1]


def read_text(path: Path, source: str, max_bytes: int = _MAX_BYTES) -> str:
    """Read a text file: UTF-8 with or without a byte order mark, or UTF-16 with one, as Excel writes them.

    Raise UserError as `read_bytes` does, or naming the line if the file has a different encoding.
    """
    data = read_bytes(path, source, max_bytes)
    try:
        return data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        excel = ", in Excel as `CSV UTF-8`" if path.suffix.lower() == ".csv" else ""
        raise UserError(f"{source}, line {line} is not UTF-8 ({error.reason}): save the file as UTF-8{excel}") from None


def class_names(path: Path, source: str) -> list[str]:
    """Read class names, one per line. Raise UserError as `read_text` and `dataset.class_name` do."""
    lines = read_text(path, source).rstrip().split("\n")
    return [class_name(line, f"{source}, line {number}: the name") for number, line in enumerate(lines, start=1)]


def _encoding(beginning: bytes) -> str:
    return "utf-16" if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
