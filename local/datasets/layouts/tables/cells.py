"""Cells of a table: the labels in them, one or several, and their order."""

import re
from collections.abc import Sequence

from local.datasets.dataset import Labels
from local.datasets.files.rows import Cell

ZERO_ONE = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
_LIST = re.compile(r'(?:\{"choices":)?\s*\[(.*)\]\s*\}?', re.DOTALL)
_ITEM = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s,'"]+)""")
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)


def split(cells: Sequence[Cell], plural: bool = False) -> list[Labels]:
    """Return the labels of each cell: none, one, or several where a separator is surely one.

    | and ; always are, and so is a list of Python's or JSON's. A comma or a space is one when every piece is a number,
    or a cell of its own somewhere; and, under a `plural` such as tags, when there are fewer pieces than cells.
    """
    texts = {cell for cell in cells if isinstance(cell, str) and cell}
    separator = _separator(texts, plural)
    lists = bool(texts) and all(map(_LIST.fullmatch, texts))
    found: list[Labels] = []
    for cell in cells:
        if isinstance(cell, tuple):
            pieces: Sequence[str] = cell
        elif lists and (inner := _LIST.fullmatch(cell)):
            pieces = ["".join(groups) for groups in _ITEM.findall(inner[1])]
        else:
            pieces = cell.split(separator) if separator else [cell]
        clean = (" ".join(piece.split()) for piece in pieces)
        found.append(tuple(dict.fromkeys(piece for piece in clean if piece)))
    return found


def without_fractions(labels: Sequence[Labels]) -> list[Labels]:
    """Return the labels with 1 for 1.0, which pandas makes of 1 where a number is missing, if all are whole numbers."""
    names = {name for some in labels for name in some}
    if not all(map(_WHOLE.fullmatch, names)):
        return list(labels)
    return [tuple(dict.fromkeys(name.partition(".")[0] for name in some)) for some in labels]


def in_order(names: set[str]) -> tuple[str, ...]:
    """Return the names of classes in the order of their labels: numbers by value, else by name."""
    return tuple(sorted(names, key=_value if all(map(is_number, names)) else str))


def is_number(text: str) -> bool:
    """Return whether a cell is a number."""
    return _NUMBER.fullmatch(text) is not None


def _separator(texts: set[str], plural: bool) -> str:
    """What separates the labels in a cell, "" when a cell is one label."""
    for sure in "|;":
        if any(sure in text for text in texts):
            return sure
    for separator in ", ":
        if not any(separator in text for text in texts):
            continue
        pieces = {piece.strip() for text in texts for piece in text.split(separator)} - {""}
        if all(piece in texts or _WHOLE.fullmatch(piece) for piece in pieces) or (plural and len(pieces) < len(texts)):
            return separator
    return ""


def _value(text: str) -> tuple[float, str]:
    return float(text), text
