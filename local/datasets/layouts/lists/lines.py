"""What the lines of a .lst file hold: numbers and a path, which of the numbers are labels, and packed boxes.

As in https://mxnet.apache.org/versions/1.9.1/api/faq/recordio, and as people write them.
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
"""Boxes that reach beyond their photo have fractions above 1; pixels up to this are no box."""


class Packed(NamedTuple):
    """The objects of a photo: (class id, box) in fractions, or in pixels of `size` where that is given."""

    objects: tuple[tuple[float, Edges], ...]
    size: tuple[int, int] | None


def parse(text: str, source: str, part: str = "", head: bool = False) -> list[Listed]:
    """Return the lines of a list, each with all of its numbers; of a `head` those that can be read.

    A header and blank lines are passed over.

    Raises UserError naming the line that is not numbers and a path.
    """
    found: list[Listed] = []
    headed = False
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        *fields, path = _fields(line.rstrip("\t\r "))
        numbers = tuple(value for field in fields if (value := _number(field)) is not None)
        if fields and len(numbers) == len(fields):
            found.append(Line(f"{source}, line {number}", path, numbers, part))
        elif (found or headed or is_photo(path)) and not head:
            raise UserError(
                f"{source}, line {number} is {line.strip()[:100]!r}: it must read index<TAB>label<TAB>path, numbers "
                "before the path"
            )
        headed = True
    return found


def class_values(lines: Sequence[Listed], source: str, notes: Notes) -> list[Listed]:
    """Return the lines with their labels only: one class id, or a 0 or 1 for each class; indices are taken off.

    `notes` gets lines that have more or fewer numbers than most. Raises UserError when there are no labels, or boxes.
    """
    if packed_at(lines) is not None:
        raise UserError(
            f"{source} has boxes ({lines[0].where} begins with a header such as 2 5), not a class for each photo: take "
            "an algorithm for detection, or a list of index<TAB>class id<TAB>path"
        )
    width, _ = Counter(len(line.target) for line in lines).most_common(1)[0]
    usual = [line for line in lines if len(line.target) == width]
    for line in lines:
        if len(line.target) != width:
            notes.setdefault(UNUSABLE, []).append(f"{line.where} has {len(line.target)} numbers, most lines {width}")
    columns = list(zip(*(line.target for line in usual), strict=True))
    first = _first_label(columns, usual[0])
    if width - first > 1 and not all(map(_zero_one, columns[first:])):
        raise UserError(
            f"{usual[0].where} has {width - first} labels, {_words(usual[0].target[first:])}: give one class id, or a "
            "0 or 1 for each class, and remove all other columns"
        )
    return [replace(line, target=line.target[first:]) for line in usual]


def packed_at(lines: Sequence[Listed]) -> int | None:
    """Return how many numbers stand before the header of packed boxes in most lines, None where there are no boxes."""
    for first in (1, 2, 0):
        if 2 * sum(_is_packed(line.target[first:]) for line in lines) > len(lines):
            return first
    return None


def packed(lines: Sequence[Listed], source: str, notes: Notes) -> list[Line[Packed]]:
    """Return the lines with their objects; `notes` gets those that are not packed, or not in the list's measure.

    Raises UserError when most lines have no boxes, or boxes in pixels of photos whose size is not in the header.
    """
    first = packed_at(lines)
    if first is None:
        raise UserError(
            f"{source} has no boxes ({lines[0].where} has the numbers {_words(lines[0].target)}): detection takes "
            "lines of index<TAB>2<TAB>5<TAB>class, xmin, ymin, xmax, ymax of each object<TAB>path, all with tabs"
        )
    found = []
    for line in lines:
        if _is_packed(line.target[first:]):
            found.append(Line(line.where, line.text, _unpacked(line.target[first:]), line.part))
        else:
            notes.setdefault(UNUSABLE, []).append(f"{line.where} has no whole number of objects after its header")
    boxed = [one for one in found if one.target.objects]
    if 2 * sum(map(_beyond, boxed)) > len(boxed):
        for one in boxed:
            if one.target.size is None:
                raise UserError(
                    f"{one.where} has the box {_words(one.target.objects[0][1])}, in pixels: divide by the width and "
                    "height of the photo, or write both into the header, 4<TAB>5<TAB>width<TAB>height"
                )
        return found
    for one in filter(_beyond, boxed):
        notes.setdefault(UNUSABLE, []).append(f"{one.where} has a box in pixels, most lines fractions of the photo")
    return [Line(one.where, one.text, Packed(one.target.objects, None), one.part) for one in found if not _beyond(one)]


def _fields(line: str) -> list[str]:
    """The numbers and the path of a line; tabs may have become spaces, or commas."""
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
    """How many columns stand before the labels: the index of the list, and the one that pandas adds before it."""
    first = columns[0]
    if len(columns) == 1:
        if _distinct(first) and len(first) > 2:
            raise UserError(
                f"{line.where} and all others have one number, each another one, which is the index: add the label "
                "after it, index<TAB>label<TAB>path"
            )
        return 0
    if all(map(_zero_one, columns)) and not _distinct(first):
        return 0
    return 2 if len(columns) > 2 and all(_distinct(one) and not _zero_one(one) for one in columns[:2]) else 1


def _distinct(numbers: Numbers) -> bool:
    return len(set(numbers)) == len(numbers)


def _zero_one(numbers: Numbers) -> bool:
    return set(numbers) <= {0, 1}


def _is_packed(numbers: Numbers) -> bool:
    """Whether numbers are a header, its width and that of an object in front, and a whole number of objects."""
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


def _unpacked(numbers: Numbers) -> Packed:
    """The objects of a packed label; those of class -1, with which MXNet fills up, are left out."""
    header, width = int(numbers[0]), int(numbers[1])
    objects = []
    for at in range(header, len(numbers), width):
        kind, left, top, right, bottom = numbers[at : at + 5]
        if kind != -1:
            objects.append((kind, (left, top, right, bottom)))
    size = numbers[2:4] if header >= 4 else ()
    whole = len(size) == 2 and all(side >= 1 and side.is_integer() for side in size)
    return Packed(tuple(objects), (int(size[0]), int(size[1])) if whole else None)


def _beyond(line: Line[Packed]) -> bool:
    """Whether a line has boxes that cannot be fractions."""
    return any(abs(edge) > _FRACTIONS for _, box in line.target.objects for edge in box)


def _words(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers[:8])
