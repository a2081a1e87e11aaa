"""Tables in text files: rows of cells from CSV, TSV and JSON Lines, as Excel, pandas and people write them."""

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any

from local.errors import UserError

JSON_LINES = (".jsonl", ".ndjson", ".jsonlines")

Cell = str | tuple[str, ...]
"""A cell: text, or the texts of a JSON list."""


@dataclass(frozen=True)
class Row:
    """A row and the number of its (last) line."""

    line: int
    cells: tuple[Cell, ...]

    def __getitem__(self, column: int) -> Cell:
        """The cell of a column, "" where the row is too short."""
        return self.cells[column] if column < len(self.cells) else ""


def delimited(text: str, separator: str, source: str, head: bool = False) -> list[Row]:
    """Return the rows of a CSV file's text that are not blank, cells stripped; of a `head` those that can be read.

    Raises UserError naming the line where quoting is broken or a cell has more than csv's 131,072 characters.
    """
    if text[:4].lower() == "sep=":  # Excel's own word for the separator
        text = "\n" + text.partition("\n")[2]
    rows: list[Row] = []
    error = _parse(text, separator, rows, strict=True)
    if error:
        rows.clear()
        loose = _parse(text, separator, rows, strict=False)
        # A quote that is never closed takes all lines to the end into its cell.
        broken = loose or any("\n" in str(cell) for row in rows for cell in row.cells)
        if broken and not head:
            raise UserError(f"{source}, {error}: quote a cell that has quotes in it, and double those")
    return [row for row in rows if any(row.cells)]


def _parse(text: str, separator: str, rows: list[Row], strict: bool) -> str:
    """Append the rows of the text until one that is not CSV; the words for that one, "" for none."""
    spaces = separator != "\t"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=spaces, strict=strict)
    try:
        rows.extend(Row(reader.line_num, tuple(cell.strip() for cell in cells)) for cells in reader)
    except csv.Error as error:
        return f"line {reader.line_num}: {error}"
    return ""


def json_lines(text: str, source: str, head: bool = False) -> tuple[tuple[str, ...], list[Row]]:
    """Return the keys of all objects and a row for each; of a `head` those that can be read.

    Objects within objects are dropped. Raises UserError naming the line that is not a JSON object.
    """
    objects: list[tuple[int, dict[str, Any]]] = []
    # Not splitlines: U+2028 may stand in JSON text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            json.dumps(value, ensure_ascii=False).encode()  # refuses half of a character, which no file can hold
            if not isinstance(value, dict):
                raise ValueError("expected an object, {...}")
        except (ValueError, RecursionError) as error:
            if head:
                break
            raise UserError(
                f"{source}, line {number} is not one object of JSON ({error}): {line.strip()[:60]!r}; write one a line"
            ) from None
        objects.append((number, value))
    keys = tuple(dict.fromkeys(key for _, value in objects for key in value))
    return keys, [Row(number, tuple(_cell(value.get(key)) for key in keys)) for number, value in objects]


def _cell(value: object) -> Cell:
    if isinstance(value, list):
        return tuple(text for item in value if isinstance(text := _cell(item), str) and text)
    if value is None or isinstance(value, dict) or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()
