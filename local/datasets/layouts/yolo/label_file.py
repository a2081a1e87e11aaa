"""Parse YOLO's label files: a line `class cx cy width height` for each box, in fractions of the photo."""

import re
from dataclasses import dataclass
from pathlib import Path

from local.datasets.dataset import Edges
from local.datasets.files import texts
from local.errors import UserError

POLYGONS = "lines with polygons, read as their bounding boxes"
SCORES = "lines with a sixth number such as a score, which is ignored"
KEYPOINTS = "lines with keypoints, which are ignored"

_FIRST_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\s*\d+(?:\.0+)?(?:[ \t]+-?\.?\d[\d.]*(?:[eE][-+]?\d+)?){4}(?:\s|$)")
_MAX_BYTES = 10_000_000
_ROUNDING = 0.01  # the tolerance of ultralytics
_FORM = "expected `class cx cy width height`"


@dataclass(frozen=True)
class Line:
    """A line of a label file: the class number, the box in fractions, and a note on other content, or ""."""

    number: int
    box: Edges
    remark: str = ""


def looks_like_labels(start: bytes) -> bool:
    """Return whether a file starts with a class number and four more numbers."""
    return _FIRST_LINE.match(start) is not None


def read(path: Path, source: str, keypoints: bool = False) -> list[Line]:
    """Read a label file, named `source` in messages. Raise UserError as `parse` does."""
    return parse(texts.read_bytes(path, source, _MAX_BYTES), source, keypoints)


def parse(data: bytes, source: str, keypoints: bool = False) -> list[Line]:
    """Return the lines of a label file. With `keypoints`, ignore the numbers after each box.

    Raise UserError naming `source`, the line and the value.
    """
    lines = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if fields := line.decode("utf-8", "backslashreplace").split():
            lines.append(_line(fields, f"{source} line {number}", keypoints))
    return lines


def _line(fields: list[str], where: str, keypoints: bool) -> Line:
    try:
        number, *values = map(float, fields)
    except ValueError:
        raise UserError(f"{where} is {' '.join(fields)[:60]!r}: {_FORM}") from None
    if not 0 <= number < 1e6 or number != int(number):
        raise UserError(f"{where} has the class {fields[0][:40]}: expected a whole number from 0")
    is_polygon = not keypoints and len(values) >= 6 and len(values) % 2 == 0
    if len(values) < 4 or (len(values) > 5 and not is_polygon and not keypoints):
        raise UserError(f"{where} has {len(fields)} numbers: {_FORM}")
    if not is_polygon:
        more = KEYPOINTS if keypoints else SCORES
        return Line(int(number), _box(values[:4], fields, where), more if len(values) > 4 else "")
    columns, rows = _fractions(values[::2], fields[1::2], where), _fractions(values[1::2], fields[2::2], where)
    return Line(int(number), (min(columns), min(rows), max(columns), max(rows)), POLYGONS)


def _box(values: list[float], fields: list[str], where: str) -> Edges:
    x, y, width, height = _fractions(values, fields[1:], where)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _fractions(values: list[float], texts: list[str], where: str) -> list[float]:
    for value, text in zip(values, texts, strict=False):
        if not -_ROUNDING <= value <= 1 + _ROUNDING:
            raise UserError(f"{where} has {text[:40]}: expected a fraction of the photo, from 0 to 1")
    return values
