"""Files that are tables of photos: their separator, their header, and which column is that of the photos' paths."""

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
_LOOKED_AT = 200
_MANIFEST = "-metadata"  # a key of Ground Truth's output, which is a layout of its own
_PATH_NAME = (
    r"(image|img|photo|picture|file|full)?[\W_]?(path|file|name|filename|image|photo|picture|id|url|uri)s?|fname"
)


@dataclass(frozen=True)
class Form:
    """How a file is read as a table: its separator, "" for JSON Lines, and whether its first row names the columns.

    `paths` are the columns that name photos; of several of them nothing says which one to take.
    """

    separator: str
    paths: tuple[int, ...]
    headed: bool
    words: str
    """The column of paths in words: column 2, or column file."""


@dataclass(frozen=True)
class Table:
    """A table: its file and what messages call it, the names of its columns, its rows, and the column of paths.

    A column without a name has "". All rows are there, whether their photos are or not.
    """

    path: Path
    source: str
    names: tuple[str, ...]
    rows: Sequence[Row]
    paths: int


def form_of(path: Path, photos: Files) -> Form | None:
    """Return how the first rows say that a file is read, None when no column names photos or there is no other.

    The separator is the one by which the most photos are named.
    """
    best, most = None, 0
    for separator, names, rows in _beginnings(path):
        paths, count = _path_columns(names, rows, photos, path.parent)
        prose = path.suffix.lower() == ".txt" and 2 * count < len(rows) - 1
        if count > most and not prose:
            headed = not separator or not any(_names_photo(rows[0][at], photos, path.parent) for at in paths)
            called = dict(enumerate(names)) if headed else {}
            words = " and ".join(f"column {called.get(at) or at + 1}" for at in paths)
            best, most = Form(separator, paths, headed, words), count
    return best


class Names(NamedTuple):
    """A column that looks like paths of photos, by its name or number, and the first of them."""

    column: str
    first: str


def names_of_photos(path: Path) -> Names | None:
    """Return the column of a file whose cells, but for a header, end as photos do, whether they are there or not."""
    for separator, names, rows in _beginnings(path):
        for number in range(max(len(row.cells) for row in rows)):
            cells = [str(row[number]) for row in rows]
            headed = bool(separator) and not is_photo(cells[0])
            paths = cells[headed:]
            if paths and all(map(is_photo, paths)):
                is_named = (headed or not separator) and names[number : number + 1] not in ((), ("",))
                return Names(names[number] if is_named else str(number + 1), paths[0])
    return None


def _beginnings(path: Path) -> Iterator[tuple[str, Sequence[str], Sequence[Row]]]:
    """Yield for each separator, "" for JSON Lines, the first row or the keys, and the first rows, if they are wide."""
    text = texts.first_lines(path)
    for separator in ("",) if path.name.lower().endswith(JSON_LINES) else (",", ";", "\t"):
        if separator:
            rows = delimited(text, separator, path.name, head=True)[:_LOOKED_AT]
            names = tuple(str(cell) for cell in rows[0].cells) if rows else ()
        else:
            names, rows = json_lines(text, path.name, head=True)
            rows = [] if any(name.endswith(_MANIFEST) for name in names) else rows[:_LOOKED_AT]
        if max((len(row.cells) for row in rows), default=0) > 1:
            yield separator, names, rows


def _path_columns(
    names: Sequence[str], rows: Sequence[Row], photos: Files, folder: Path
) -> tuple[tuple[int, ...], int]:
    """The columns that name the most photos, and how many; those called as paths are, if any is.

    A number may be a photo's name without .jpg as well as a label; so where whole names are, they count alone.
    """
    columns = [[str(row[number]) for row in rows] for number in range(max(len(row.cells) for row in rows))]
    found = [photos.find(cells, folder) for cells in columns]
    counts = [sum(photo.why != MISSING for photo in one) for one in found]
    whole = [
        sum(photo.why != MISSING and is_photo(cell) for cell, photo in zip(cells, one, strict=True))
        for cells, one in zip(columns, found, strict=True)
    ]
    counts = whole if any(whole) else counts
    most = max(counts)
    best = [number for number, count in enumerate(counts) if 2 * count > most]
    for called in ("path", _PATH_NAME):
        named = [number for number in best if number < len(names) and re.fullmatch(called, names[number].lower())]
        best = named or best
    if len({tuple((photo.path, photo.why) for photo in found[number]) for number in best}) == 1:
        best = best[:1]
    return tuple(best), most


def _names_photo(cell: Cell, photos: Files, folder: Path) -> bool:
    """Whether a cell is the path of a photo, there or not."""
    return is_photo(str(cell)) or photos.find([str(cell)], folder)[0].why != MISSING


def read(path: Path, source: str, form: Form) -> Table:
    """Read a whole table. Raises UserError naming the line, or the columns when several name photos."""
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
            f"{source} has several columns that name photos, {form.words}: name the one to take `path` in a first line "
            "of names, or remove the others"
        )
    return Table(path, source, names, rows, form.paths[0])
