"""Read tables of photos: detect the separator, the header and the column of photo paths."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from local.datasets.files import texts
from local.datasets.files.path_suffixes import Files
from local.datasets.files.rows import JSON_LINES, Cell, Row, delimited, json_lines
from local.datasets.files.walk import is_photo
from local.datasets.notes import MISSING
from local.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt", *JSON_LINES)
_MAX_ROWS = 200
_MANIFEST = "-metadata"  # ends the keys of Ground Truth manifests, a different layout
_PATH_NAME = (
    r"(image|img|photo|picture|file|full)?[\W_]?(path|file|name|filename|image|photo|picture|id|url|uri)s?|fname"
)


@dataclass(frozen=True)
class Form:
    """The form of a table: its separator, "" for JSON Lines, and whether its first row is a header.

    `paths` are the columns that name photos. If there are several, the choice is ambiguous.
    """

    separator: str
    paths: tuple[int, ...]
    headed: bool
    description: str
    """The column of paths for messages: column 2, or column file."""


@dataclass(frozen=True)
class Table:
    """A table: its file, its name for messages, the names of its columns, its rows, and the column of paths.

    A column without a name is "". Rows of missing photos are included.
    """

    path: Path
    source: str
    names: tuple[str, ...]
    rows: Sequence[Row]
    paths: int


def detect_form(path: Path, photos: Files) -> Form | None:
    """Detect the form from the first rows. Return None if no column names photos or there is only one column.

    Choose the separator with which the rows name the most photos.
    """
    best, max_count = None, 0
    for separator, names, rows in _starts(path):
        paths, count = _path_columns(names, rows, photos, path.parent)
        prose = path.suffix.lower() == ".txt" and 2 * count < len(rows) - 1
        if count > max_count and not prose:
            headed = not separator or not any(_names_photo(rows[0][at], photos, path.parent) for at in paths)
            header = dict(enumerate(names)) if headed else {}
            description = " and ".join(f"column {header.get(at) or at + 1}" for at in paths)
            best, max_count = Form(separator, paths, headed, description), count
    return best


class PathColumn(NamedTuple):
    """The name or number of a column that looks like photo paths, and the first path."""

    name: str
    first: str


def find_path_column(path: Path) -> PathColumn | None:
    """Return the column of a file in which all cells, except a header, look like photo paths, existing or not."""
    for separator, names, rows in _starts(path):
        for number in range(max(len(row.cells) for row in rows)):
            cells = [str(row[number]) for row in rows]
            headed = bool(separator) and not is_photo(cells[0])
            paths = cells[headed:]
            if paths and all(map(is_photo, paths)):
                is_named = (headed or not separator) and names[number : number + 1] not in ((), ("",))
                return PathColumn(names[number] if is_named else str(number + 1), paths[0])
    return None


def _starts(path: Path) -> Iterator[tuple[str, Sequence[str], Sequence[Row]]]:
    """Yield the separator, the names and the first rows for each separator that gives more than one column."""
    text = texts.first_lines(path)
    for separator in ("",) if path.name.lower().endswith(JSON_LINES) else (",", ";", "\t"):
        if separator:
            rows = delimited(text, separator, path.name, head=True)[:_MAX_ROWS]
            names = tuple(str(cell) for cell in rows[0].cells) if rows else ()
        else:
            names, rows = json_lines(text, path.name, head=True)
            rows = [] if any(name.endswith(_MANIFEST) for name in names) else rows[:_MAX_ROWS]
        if max((len(row.cells) for row in rows), default=0) > 1:
            yield separator, names, rows


def _path_columns(
    names: Sequence[str], rows: Sequence[Row], photos: Files, folder: Path
) -> tuple[tuple[int, ...], int]:
    """Return the columns that name the most photos, preferring names such as path, and how many photos they name.

    A number may be a label or the name of a photo without .jpg, so names with extensions take precedence.
    """
    columns = [[str(row[number]) for row in rows] for number in range(max(len(row.cells) for row in rows))]
    matches = [photos.find(cells, folder) for cells in columns]
    counts = [sum(match.reason != MISSING for match in column) for column in matches]
    whole = [
        sum(match.reason != MISSING and is_photo(cell) for cell, match in zip(cells, column, strict=True))
        for cells, column in zip(columns, matches, strict=True)
    ]
    counts = whole if any(whole) else counts
    max_count = max(counts)
    best = [number for number, count in enumerate(counts) if 2 * count > max_count]
    for pattern in ("path", _PATH_NAME):
        named = [number for number in best if number < len(names) and re.fullmatch(pattern, names[number].lower())]
        best = named or best
    if len({tuple((match.path, match.reason) for match in matches[number]) for number in best}) == 1:
        best = best[:1]
    return tuple(best), max_count


def _names_photo(cell: Cell, photos: Files, folder: Path) -> bool:
    """Return whether a cell is the path of a photo, existing or not."""
    return is_photo(str(cell)) or photos.find([str(cell)], folder)[0].reason != MISSING


def read(path: Path, source: str, form: Form) -> Table:
    """Read a whole table. Raise UserError naming an invalid line, or the columns if several name photos."""
    text = texts.read_text(path, source)
    if form.separator:
        rows = delimited(text, form.separator, source)
        header, rows = (rows[0].cells, rows[1:]) if form.headed else ((), rows)
        width = max((len(row.cells) for row in rows), default=0)
        names = tuple(map(str, header)) + ("",) * (width - len(header))
    else:
        names, rows = json_lines(text, source)
    if len(form.paths) > 1:
        raise UserError(
            f"{source} has several columns that name photos, {form.description}: add a header that names the right "
            "one `path`, or remove the others"
        )
    return Table(path, source, names, rows, form.paths[0])
