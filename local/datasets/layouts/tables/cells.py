"""Split cells of a table into labels, and sort class names."""

import re
from collections.abc import Sequence

from local.datasets.dataset import Labels
from local.datasets.files.rows import Cell

ZERO_ONE = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
_LIST = re.compile(r'(?:\{"choices":)?\s*\[(.*)\]\s*\}?', re.DOTALL)
_ITEM = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s,'"]+)""")
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)


def split_labels(cells: Sequence[Cell], plural: bool = False) -> list[Labels]:
    """Return the labels of each cell: none, one, or several if the cells clearly have a separator.

    | and ; always separate labels, and Python and JSON lists are parsed. A comma or space separates labels if every
    piece is a number or occurs as a whole cell. In a column with a `plural` name such as tags, it also does so if
    there are fewer distinct pieces than distinct cells.
    """
    texts = {cell for cell in cells if isinstance(cell, str) and cell}
    separator = _separator(texts, plural)
    lists = bool(texts) and all(map(_LIST.fullmatch, texts))
    labels: list[Labels] = []
    for cell in cells:
        if isinstance(cell, tuple):
            pieces: Sequence[str] = cell
        elif lists and (inner := _LIST.fullmatch(cell)):
            pieces = ["".join(groups) for groups in _ITEM.findall(inner[1])]
        else:
            pieces = cell.split(separator) if separator else [cell]
        clean = (" ".join(piece.split()) for piece in pieces)
        labels.append(tuple(dict.fromkeys(piece for piece in clean if piece)))
    return labels


def normalize_integers(labels: Sequence[Labels]) -> list[Labels]:
    """Replace 1.0 with 1 if all labels are whole numbers. pandas writes 1.0 if the column has missing values."""
    names = {name for photo_labels in labels for name in photo_labels}
    if not all(map(_WHOLE.fullmatch, names)):
        return list(labels)
    return [tuple(dict.fromkeys(name.partition(".")[0] for name in photo_labels)) for photo_labels in labels]


def sort_classes(names: set[str]) -> tuple[str, ...]:
    """Sort class names: by value if all are numbers, else by name."""
    return tuple(sorted(names, key=_value if all(map(is_number, names)) else str))


def is_number(text: str) -> bool:
    """Return whether a cell is a number."""
    return _NUMBER.fullmatch(text) is not None


def _separator(texts: set[str], plural: bool) -> str:
    """Return what separates the labels in a cell, or "" if a cell is one label."""
    for separator in "|;":
        if any(separator in text for text in texts):
            return separator
    for separator in ", ":
        if not any(separator in text for text in texts):
            continue
        pieces = {piece.strip() for text in texts for piece in text.split(separator)} - {""}
        if all(piece in texts or _WHOLE.fullmatch(piece) for piece in pieces) or (plural and len(pieces) < len(texts)):
            return separator
    return ""


def _value(text: str) -> tuple[float, str]:
    return float(text), text
