"""Find the columns of a table that hold labels."""

import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from local.datasets.files.rows import Cell, Row
from local.datasets.layouts.tables.cells import ZERO_ONE, is_number
from local.errors import UserError

_WORDS = {"label", "class", "category", "tag", "species", "breed", "diagnosis", "choice", "target", "type", "variety"}
_PLURALS = {"classes": "class", "categories": "category"} | {
    f"{word}s": word for word in _WORDS - {"class", "category", "species", "diagnosis", "variety"}
}
_QUALIFIERS = {"name", "text", "true", "gt", "image"}
_NUMBERED = {"id", "ids", "idx", "index", "number", "num", "no", "count"}


class Column(NamedTuple):
    """A column of a table: its name, which may be "", and its cells."""

    name: str
    cells: Sequence[Cell]

    @property
    def words(self) -> list[str]:
        """The words of the name in lower case, such as class and name for ClassName."""
        return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).lower())

    @property
    def tokens(self) -> list[str]:
        """The words with plurals of label words replaced by the singular."""
        return [_PLURALS.get(word, word) for word in self.words]

    @property
    def plural(self) -> bool:
        """Whether the name has the plural of a label word, such as tags."""
        return self.tokens != self.words

    @property
    def rank(self) -> int:
        """How clearly the name denotes labels: 0 label; 1 class_name; 2 Finding Labels; 3 class_id; 4 other names."""
        tokens = set(self.tokens)
        if self.name.strip().lower() in ("label", "labels"):
            return 0
        if not tokens & _WORDS:
            return 4
        return 3 if tokens & _NUMBERED else 1 if tokens <= _WORDS | _QUALIFIERS else 2


class Labelled(NamedTuple):
    """The labels of each row: a string or a tuple. A string in a column with a `plural` name may hold several labels.

    `classes` are the classes of a table with a column for each class.
    """

    cells: Sequence[Cell]
    plural: bool = False
    classes: tuple[str, ...] = ()


def find_labels(rows: Sequence[Row], names: Sequence[str], columns: Sequence[int], source: str) -> Labelled:
    """Find the column or columns that hold labels, among the numbers `columns`, and return the labels of all rows.

    `names` are the names of all columns, "" without a header. Raise UserError naming the columns and the fix if the
    choice is ambiguous.
    """
    all_columns = [Column(" ".join(names[number].split()), [row[number] for row in rows]) for number in columns]
    filled = [column for column in all_columns if any(column.cells)]
    candidates = [column for column in filled if not _is_index(column)] or filled
    if not candidates:
        raise UserError(f"{source} has only a column for photo paths: add a column `label` with their classes")
    for rank in (0, 1):
        if named := [column for column in candidates if column.rank == rank]:
            return _resolve(named, candidates) or _raise_ambiguous(named, source)
    if classes := _zero_one(candidates):
        ones = [_ones(classes, row) for row in range(len(rows))]
        return Labelled(ones, classes=tuple(column.name for column in classes))
    for rank in (2, 3):
        if named := [column for column in candidates if column.rank == rank]:
            return _resolve(named, candidates) or _raise_ambiguous(named, source)
    informative = [column for column in candidates if is_informative(column.cells)]
    informative = informative or candidates
    return (
        _resolve(candidates, candidates) or _resolve(informative, informative) or _raise_ambiguous(informative, source)
    )


def has_label_word(name: str) -> bool:
    """Return whether a column's name contains a label word."""
    return Column(name, ()).rank < 4


def is_informative(cells: Sequence[Cell]) -> bool:
    """Return whether a column can hold labels.

    It cannot if it has the same value for all photos, or a different one for each, such as a timestamp.
    """
    return 1 < len(set(cells) - {""}) < len(cells)


def _resolve(named: Sequence[Column], candidates: Sequence[Column]) -> Labelled | None:
    """Return labels if `named` is unambiguous: one column, equivalent columns, or columns that share values."""
    if len({" ".join(column.tokens) for column in named}) == 1 < len(named) and named[0].name:
        return Labelled(_several(named))
    for column in named:
        if all(_same(column.cells, other.cells) for other in named):
            return Labelled(_with_names(column, candidates).cells, column.plural)
    return Labelled(_several(named)) if _share_values(named) else None


def _raise_ambiguous(columns: Sequence[Column], source: str) -> NoReturn:
    listed = ", ".join(
        f"`{column.name}`" if column.name else f"one that starts with {str(column.cells[0])[:30]!r}"
        for column in columns[:10]
    )
    raise UserError(
        f"{source} has several columns that may hold the label: {listed}: add a header that names one of them "
        "`label`, or keep only the columns for path and label"
    )


def _with_names(column: Column, candidates: Sequence[Column]) -> Column:
    """Return the column, or another one that has a name for each of its numbers."""
    if not all(isinstance(cell, str) and is_number(cell) for cell in column.cells):
        return column
    for other in candidates:
        has_names = not any(isinstance(cell, str) and is_number(cell) for cell in other.cells)
        if has_names and _same(column.cells, other.cells) and len(set(other.cells)) < len(other.cells):
            return other
    return column


def _same(first: Sequence[Cell], second: Sequence[Cell]) -> bool:
    """Return whether two columns divide the rows into the same classes."""
    return len(set(first)) == len(set(second)) == len(set(zip(first, second, strict=True)))


def _share_values(columns: Sequence[Column]) -> bool:
    """Return whether each column after the first repeats strings, not numbers, of the columns before it."""
    seen = set(columns[0].cells) - {""}
    for column in columns[1:]:
        texts = set(column.cells) - {""}
        if not texts & seen or any(isinstance(text, str) and is_number(text) for text in texts):
            return False
        seen |= texts
    return len(columns) > 1


def _several(columns: Sequence[Column]) -> list[Cell]:
    rows = zip(*(column.cells for column in columns), strict=True)
    return [tuple(cell for cell in row if isinstance(cell, str) and cell) for row in rows]


def _zero_one(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that are classes, with a 0 or 1 per photo; [] if other columns may also hold labels."""
    flags = [column for column in columns if column.name and all(map(_is_zero_one, column.cells))]
    if len(flags) < 2:
        return []
    one_hot = all(len(_ones(flags, row)) == 1 for row in range(len(flags[0].cells)))
    return flags if one_hot or len(flags) == len(columns) else []


def _is_zero_one(cell: Cell) -> bool:
    return isinstance(cell, str) and cell.lower() in ZERO_ONE


def _ones(classes: Sequence[Column], row: int) -> tuple[str, ...]:
    return tuple(column.name for column in classes if ZERO_ONE[str(column.cells[row]).lower()])


def _is_index(column: Column) -> bool:
    """Return whether a column only numbers the rows, like the unnamed one that pandas writes."""
    if column.name and column.name.lower() != "index" and not column.name.startswith("Unnamed:"):
        return False
    return all(isinstance(cell, str) and cell.isdecimal() for cell in column.cells) and (
        len(set(column.cells)) == len(column.cells)
    )
