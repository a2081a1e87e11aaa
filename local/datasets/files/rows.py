"""Read rows of cells from CSV, TSV and JSON Lines as Excel, pandas and people write them."""

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any

from local.errors import UserError

JSON_LINES = (".jsonl", ".ndjson", ".jsonlines")

Cell = str | tuple[str, ...]
"""A cell: a string, or the strings of a JSON list."""


@dataclass(frozen=True)
class Row:
    """A row and the number of its last line."""

    line: int
    cells: tuple[Cell, ...]

    def __getitem__(self, column: int) -> Cell:
        """Return the cell of a column, "" if the row is too short."""
        return self.cells[column] if column < len(self.cells) else ""


def delimited(text: str, separator: str, source: str, head: bool = False) -> list[Row]:
    """Return the rows of a CSV file's text, with stripped cells and without blank rows.

    Raise UserError naming the line if quoting is broken or a cell has more than csv's 131,072 characters. With `head`,
    `text` is only the start of a file, and rows that cannot be read are skipped.
    """
    if text[:4].lower() == "sep=":  # Excel writes the separator in the first line
        text = "\n" + text.partition("\n")[2]
    rows: list[Row] = []
    error = _parse(text, separator, rows, strict=True)
    if error:
        rows.clear()
        loose = _parse(text, separator, rows, strict=False)
        # An unclosed quote puts all remaining lines into one cell.
        broken = loose or any("\n" in str(cell) for row in rows for cell in row.cells)
        if broken and not head:
            raise UserError(f"{source}, {error}: quote each cell that contains quotes, and double the inner ones")
    return [row for row in rows if any(row.cells)]


def _parse(text: str, separator: str, rows: list[Row], strict: bool) -> str:
    """Append the rows of the text up to the first invalid row. Return the error of that row, or ""."""
    spaces = separator != "\t"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=spaces, strict=strict)
    try:
        rows.extend(Row(reader.line_num, tuple(cell.strip() for cell in cells)) for cells in reader)
    except csv.Error as error:
        return f"line {reader.line_num}: {error}"
    return ""


def json_lines(text: str, source: str, head: bool = False) -> tuple[tuple[str, ...], list[Row]]:
    """Return the keys of all objects and one row per object. Nested objects become "".

    Raise UserError naming a line that is not a JSON object. With `head`, stop at that line instead.
    """
    objects: list[tuple[int, dict[str, Any]]] = []
    # Not splitlines: JSON strings may contain U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            json.dumps(value, ensure_ascii=False).encode()  # raises for lone surrogates
            if not isinstance(value, dict):
                raise ValueError("expected an object, {...}")
        except (ValueError, RecursionError) as error:
            if head:
                break
            raise UserError(
                f"{source}, line {number} is {line.strip()[:60]!r}, which is not a JSON object ({error}): write one "
                "object per line"
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
