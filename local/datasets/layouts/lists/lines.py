"""Parse the lines of a .lst file: numbers and a path. The numbers hold an index and labels or packed boxes.

The format is described in https://mxnet.apache.org/versions/1.9.1/api/faq/recordio. Common variations are accepted.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from local.datasets.dataset import UNUSABLE, Edges
from local.datasets.files.listed import Line
from local.datasets.files.walk import is_photo
from local.datasets.notes import Notes
from local.errors import UserError

Numbers = tuple[float, ...]
Listed = Line[Numbers]

_WITHOUT_TABS = re.compile(r"((?:[+-]?[\d.]+(?:[eE][+-]?\d+)?[\s,;]+)+)(.*)", re.ASCII)
_FRACTIONS = 2.0
"""The largest coordinate of a box in fractions. Boxes may extend beyond their photo, so fractions may exceed 1."""


class PackedBoxes(NamedTuple):
    """The objects of a photo as (class id, box), in pixels of `size`, or in fractions if `size` is None."""

    objects: tuple[tuple[float, Edges], ...]
    size: tuple[int, int] | None


def parse(text: str, source: str, part: str = "", head: bool = False) -> list[Listed]:
    """Return the lines of a list, each with all of its numbers. Skip a header and blank lines.

    Raise UserError naming a line that is not numbers followed by a path. With `head`, `text` is only the start of a
    file, and such lines are skipped.
    """
    lines: list[Listed] = []
    has_header = False
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        *fields, path = _fields(line.rstrip("\t\r "))
        numbers = tuple(value for field in fields if (value := _number(field)) is not None)
        if fields and len(numbers) == len(fields):
            lines.append(Line(f"{source}, line {number}", path, numbers, part))
        elif (lines or has_header or is_photo(path)) and not head:
            raise UserError(
                f"{source}, line {number} is {line.strip()[:100]!r}: expected index<TAB>label<TAB>path, with numbers "
                "before the path"
            )
        has_header = True
    return lines


def class_values(lines: Sequence[Listed], source: str, notes: Notes) -> list[Listed]:
    """Return the lines with only their labels: one class id, or a 0 or 1 for each class. Remove indices.

    Note lines with more or fewer numbers than most. Raise UserError if the lines have no labels or have boxes.
    """
    if packed_offset(lines) is not None:
        raise UserError(
            f"{source} has boxes ({lines[0].where} starts with a header such as 2 5), not a class for each photo: use "
            "object-detection, or a list of index<TAB>class id<TAB>path"
        )
    width, _ = Counter(len(line.target) for line in lines).most_common(1)[0]
    regular = [line for line in lines if len(line.target) == width]
    for line in lines:
        if len(line.target) != width:
            notes.setdefault(UNUSABLE, []).append(
                f"{line.where} has {len(line.target)} numbers, but most lines have {width}"
            )
    columns = list(zip(*(line.target for line in regular), strict=True))
    first = _first_label(columns, regular[0])
    if width - first > 1 and not all(map(_zero_one, columns[first:])):
        raise UserError(
            f"{regular[0].where} has {width - first} labels, {_join(regular[0].target[first:])}: give one class id, or "
            "a 0 or 1 for each class, and remove all other columns"
        )
    return [replace(line, target=line.target[first:]) for line in regular]


def packed_offset(lines: Sequence[Listed]) -> int | None:
    """Return how many numbers precede the header of packed boxes in most lines, or None if there are no boxes."""
    for first in (1, 2, 0):
        if 2 * sum(_is_packed(line.target[first:]) for line in lines) > len(lines):
            return first
    return None


def packed_boxes(lines: Sequence[Listed], source: str, notes: Notes) -> list[Line[PackedBoxes]]:
    """Return the lines with their objects. Note lines that are not packed or use a different unit from most lines.

    Raise UserError if most lines have no boxes, or if boxes are in pixels and a header does not give the photo's size.
    """
    first = packed_offset(lines)
    if first is None:
        raise UserError(
            f"{source} has no boxes ({lines[0].where} has the numbers {_join(lines[0].target)}): detection needs "
            "lines of index<TAB>2<TAB>5<TAB>class, xmin, ymin, xmax, ymax of each object<TAB>path, separated by tabs"
        )
    unpacked = []
    for line in lines:
        if _is_packed(line.target[first:]):
            unpacked.append(Line(line.where, line.text, _unpacked(line.target[first:]), line.part))
        else:
            notes.setdefault(UNUSABLE, []).append(
                f"{line.where} does not have a whole number of objects after its header"
            )
    boxed = [item for item in unpacked if item.target.objects]
    if 2 * sum(map(_in_pixels, boxed)) > len(boxed):
        for item in boxed:
            if item.target.size is None:
                raise UserError(
                    f"{item.where} has the box {_join(item.target.objects[0][1])}, in pixels: divide it by the width "
                    "and height of the photo, or add both to the header, as in 4<TAB>5<TAB>width<TAB>height"
                )
        return unpacked
    for item in filter(_in_pixels, boxed):
        notes.setdefault(UNUSABLE, []).append(
            f"{item.where} has a box in pixels, but most lines have fractions of the photo"
        )
    return [
        Line(item.where, item.text, PackedBoxes(item.target.objects, None), item.part)
        for item in unpacked
        if not _in_pixels(item)
    ]


def _fields(line: str) -> list[str]:
    """Split a line into numbers and a path. The separators may also be spaces or commas instead of tabs."""
    if "\t" in line:
        *fields, path = line.split("\t")
        return [*(field.strip() for field in fields), path.strip(" ")]
    if match := _WITHOUT_TABS.fullmatch(line.strip()):
        return [*re.split(r"[\s,;]+", match[1].rstrip(" \t,;")), match[2]]
    return [line]


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _first_label(columns: Sequence[Numbers], line: Listed) -> int:
    """Return how many columns precede the labels: the index of the list, and one that pandas may add before it."""
    first = columns[0]
    if len(columns) == 1:
        if _distinct(first) and len(first) > 2:
            raise UserError(
                f"{line.where} and all others have only one number, which is unique and therefore the index: add the "
                "label after it, index<TAB>label<TAB>path"
            )
        return 0
    if all(map(_zero_one, columns)) and not _distinct(first):
        return 0
    return 2 if len(columns) > 2 and all(_distinct(column) and not _zero_one(column) for column in columns[:2]) else 1


def _distinct(numbers: Numbers) -> bool:
    return len(set(numbers)) == len(numbers)


def _zero_one(numbers: Numbers) -> bool:
    return set(numbers) <= {0, 1}


def _is_packed(numbers: Numbers) -> bool:
    """Return whether numbers are a header, which starts with its own width and an object's, and then whole objects."""
    if len(numbers) < 2:
        return False
    header, width = numbers[:2]
    return (
        header.is_integer()
        and width.is_integer()
        and 2 <= header <= len(numbers)
        and width >= 5
        and (len(numbers) - header) % width == 0
    )


def _unpacked(numbers: Numbers) -> PackedBoxes:
    """Return the objects of a packed label, without those of class -1, which MXNet uses as padding."""
    header, width = int(numbers[0]), int(numbers[1])
    objects = []
    for at in range(header, len(numbers), width):
        kind, left, top, right, bottom = numbers[at : at + 5]
        if kind != -1:
            objects.append((kind, (left, top, right, bottom)))
    size = numbers[2:4] if header >= 4 else ()
    whole = len(size) == 2 and all(side >= 1 and side.is_integer() for side in size)
    return PackedBoxes(tuple(objects), (int(size[0]), int(size[1])) if whole else None)


def _in_pixels(line: Line[PackedBoxes]) -> bool:
    """Return whether a line has boxes that cannot be fractions."""
    return any(abs(edge) > _FRACTIONS for _, box in line.target.objects for edge in box)


def _join(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers[:8])
