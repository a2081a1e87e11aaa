"""Which columns of a table hold labels, whatever they are called."""

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
_BESIDE = {"name", "text", "true", "gt", "image"}
_NUMBERED = {"id", "ids", "idx", "index", "number", "num", "no", "count"}


class Column(NamedTuple):
    """A column of a table: its name, "" without, and its cells."""

    name: str
    cells: Sequence[Cell]

    @property
    def words(self) -> list[str]:
        """The words of the name in lower case: class, name of ClassName."""
        return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).lower())

    @property
    def tokens(self) -> list[str]:
        """The same, with those of labels in the singular."""
        return [_PLURALS.get(word, word) for word in self.words]

    @property
    def plural(self) -> bool:
        """Whether a word of labels in the name is in the plural, as in tags."""
        return self.tokens != self.words

    @property
    def rank(self) -> int:
        """How surely the name is that of labels: 0 label; 1 class_name; 2 Finding Labels; 3 class_id; 4 no."""
        tokens = set(self.tokens)
        if self.name.strip().lower() in ("label", "labels"):
            return 0
        if not tokens & _WORDS:
            return 4
        return 3 if tokens & _NUMBERED else 1 if tokens <= _WORDS | _BESIDE else 2


class Labelled(NamedTuple):
    """The labels of every row: a text, which may hold several when the column's name is a `plural`, or a tuple of them.

    `classes` are those that have a column of their own.
    """

    cells: Sequence[Cell]
    plural: bool = False
    classes: tuple[str, ...] = ()


def labels_of(rows: Sequence[Row], names: Sequence[str], columns: Sequence[int], source: str) -> Labelled:
    """Return the labels of all rows from the one of the `columns`, or the several, that must hold them.

    `names` are those of all columns, "" where there is no header. Raises UserError that names the columns when nothing
    decides between them, and how the user can.
    """
    every = [Column(" ".join(names[number].split()), [row[number] for row in rows]) for number in columns]
    filled = [column for column in every if any(column.cells)]
    candidates = [column for column in filled if not _is_index(column)] or filled
    if not candidates:
        raise UserError(f"{source} has no column besides the paths of the photos: add one, `label`, with their classes")
    for rank in (0, 1):
        if named := [column for column in candidates if column.rank == rank]:
            return _decided(named, candidates) or _refuse(named, source)
    if classes := _zero_one(candidates):
        ones = [_ones(classes, row) for row in range(len(rows))]
        return Labelled(ones, classes=tuple(column.name for column in classes))
    for rank in (2, 3):
        if named := [column for column in candidates if column.rank == rank]:
            return _decided(named, candidates) or _refuse(named, source)
    telling = [column for column in candidates if is_telling(column.cells)]
    telling = telling or candidates
    return _decided(candidates, candidates) or _decided(telling, telling) or _refuse(telling, source)


def is_called_label(name: str) -> bool:
    """Return whether a column's name has a word for labels."""
    return Column(name, ()).rank < 4


def is_telling(cells: Sequence[Cell]) -> bool:
    """Return whether something can be learnt from a column.

    There is nothing when it has the same value for all photos, or another one for each, such as a time.
    """
    return 1 < len(set(cells) - {""}) < len(cells)


def _decided(named: Sequence[Column], candidates: Sequence[Column]) -> Labelled | None:
    """The labels of the columns `named`: one; one's numbers and another's names for them; or several labels a row."""
    if len({" ".join(column.tokens) for column in named}) == 1 < len(named) and named[0].name:
        return Labelled(_several(named))
    for column in named:
        if all(_same(column.cells, other.cells) for other in named):
            return Labelled(_in_words(column, candidates).cells, column.plural)
    return Labelled(_several(named)) if _share_values(named) else None


def _refuse(columns: Sequence[Column], source: str) -> NoReturn:
    words = ", ".join(
        f"`{column.name}`" if column.name else f"one that begins with {str(column.cells[0])[:30]!r}"
        for column in columns[:10]
    )
    raise UserError(
        f"{source} has several columns that may hold the label: {words}: name one of them `label` in a first line of "
        "names, or leave only the columns of path and label"
    )


def _in_words(column: Column, candidates: Sequence[Column]) -> Column:
    """The column, or if it holds numbers and another has a name for each, that one."""
    if not all(isinstance(cell, str) and is_number(cell) for cell in column.cells):
        return column
    for other in candidates:
        words = not any(isinstance(cell, str) and is_number(cell) for cell in other.cells)
        if words and _same(column.cells, other.cells) and len(set(other.cells)) < len(other.cells):
            return other
    return column


def _same(one: Sequence[Cell], other: Sequence[Cell]) -> bool:
    """Whether two columns divide the rows into the same classes."""
    return len(set(one)) == len(set(other)) == len(set(zip(one, other, strict=True)))


def _share_values(columns: Sequence[Column]) -> bool:
    """Whether every column after the first repeats texts, not numbers, of those before it."""
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
    """The columns that are classes, with a 0 or 1 for each photo; none when there are others that may be labels."""
    found = [column for column in columns if column.name and all(map(_is_zero_one, column.cells))]
    if len(found) < 2:
        return []
    alone = all(len(_ones(found, row)) == 1 for row in range(len(found[0].cells)))
    return found if alone or len(found) == len(columns) else []


def _is_zero_one(cell: Cell) -> bool:
    return isinstance(cell, str) and cell.lower() in ZERO_ONE


def _ones(classes: Sequence[Column], row: int) -> tuple[str, ...]:
    return tuple(column.name for column in classes if ZERO_ONE[str(column.cells[row]).lower()])


def _is_index(column: Column) -> bool:
    """Whether a column only counts the rows, as the one that pandas writes without a name."""
    if column.name and column.name.lower() != "index" and not column.name.startswith("Unnamed:"):
        return False
    return all(isinstance(cell, str) and cell.isdecimal() for cell in column.cells) and (
        len(set(column.cells)) == len(column.cells)
    )
