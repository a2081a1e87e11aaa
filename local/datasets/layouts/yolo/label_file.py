"""YOLO's label files: a line `class cx cy width height` for each box, in fractions of the photo."""

import re
from dataclasses import dataclass
from pathlib import Path

from local.datasets.dataset import Edges
from local.datasets.files import texts
from local.errors import UserError

POLYGONS = "lines with polygons, their boxes taken"
SCORES = "lines with a sixth number, as predictions have, passed over"
KEYPOINTS = "lines with keypoints, passed over"

_FIRST_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\s*\d+(?:\.0+)?(?:[ \t]+-?\.?\d[\d.]*(?:[eE][-+]?\d+)?){4}(?:\s|$)")
_MOST_BYTES = 10_000_000
_ROUNDING = 0.01  # as much as ultralytics allows
_FORM = "expected `class cx cy width height`"


@dataclass(frozen=True)
class Line:
    """A line of a label file: the class number, the box in fractions of the photo, and what else it has, "" or why."""

    number: int
    box: Edges
    remark: str = ""


def looks_like_labels(begin: bytes) -> bool:
    """Whether a file begins with a class number and four more numbers."""
    return _FIRST_LINE.match(begin) is not None


def read(path: Path, source: str, keypoints: bool = False) -> list[Line]:
    """Read a label file, which messages call `source`. Raises UserError as `parse` does."""
    return parse(texts.read_bytes(path, source, _MOST_BYTES), source, keypoints)


def parse(data: bytes, source: str, keypoints: bool = False) -> list[Line]:
    """The boxes of a label file; with `keypoints`, what is behind the box in a line is passed over.

    Raises UserError naming source, line and value.
    """
    found = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if fields := line.decode("utf-8", "backslashreplace").split():
            found.append(_line(fields, f"{source} line {number}", keypoints))
    return found


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
            raise UserError(f"{where} has {text[:40]}: YOLO's numbers are fractions of the photo, from 0 to 1")
    return values
