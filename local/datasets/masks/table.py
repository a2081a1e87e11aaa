"""Read tables that map numbers or colours of masks to classes.

    labelmap.txt        CVAT: name:red,green,blue:parts:actions
    class_dict.csv      CamVid: name,red,green,blue after a header with these words
    label_colors.txt    CamVid: red green blue name
    _classes.csv        Roboflow: number,name after the header `Pixel Value,Class`
    classes.txt         a name per line, by number from 0; or class_names.txt (labelme), codes.txt (CamVid), labels.txt

A file with any of these names may have any of these forms.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from local.datasets.dataset import class_name
from local.datasets.files import texts
from local.datasets.masks.mask import Colour
from local.errors import UserError
from train.semantic_segmentation.masks import IGNORE

FILES = (
    "labelmap.txt",
    "label_map.txt",
    "class_dict.csv",
    "_classes.csv",
    "classes.csv",
    "colormap.txt",
    "label_colors.txt",
    "classes.txt",
    "class_names.txt",
    "codes.txt",
    "labels.txt",
)
"""Names of tables. The first one found, in this order, is used."""
_IGNORED = ("ignore", "ignored", "__ignore__")
_MAX_LINE = 300
_SEPARATOR = r" ?[ \t,;] ?"
_RGB = rf"(?P<red>\d{{1,3}}){_SEPARATOR}(?P<green>\d{{1,3}}){_SEPARATOR}(?P<blue>\d{{1,3}})"
_FORMS = tuple(
    map(
        re.compile,
        (
            rf"(?P<name>.*?)[ \t,;:] ?{_RGB} ?(:.*)?",
            rf"{_RGB} ?[ \t,;:](?P<name>.*)",
            r"(?P<number>\d{1,3}) ?[,;:\t](?P<name>.*)",
            r"(?P<name>.*)[,;:\t] ?(?P<number>\d{1,3})",
        ),
    )
)


class Table(NamedTuple):
    """Class names, and the colour and number of each in masks if the file gives them.

    `ignored` are colours of no class. If `numbers` is empty, the number of a name is its index.
    """

    source: str
    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    numbers: tuple[int, ...] = ()
    ignored: tuple[Colour, ...] = ()

    @property
    def labels(self) -> dict[Colour, int]:
        """The label of each colour, or IGNORE for colours of no class."""
        return dict.fromkeys(self.ignored, IGNORE) | {colour: label for label, colour in enumerate(self.colours)}


def find(root: Path, files: Sequence[str]) -> Table | None:
    """Return the table in `files`, which are paths below `root`, or None.

    Use the first name in FILES that exists. Of several files with that name, use the one nearest to `root`. Raise
    UserError if they differ, and as `parse` does.
    """
    for name in FILES:
        of_name = [file for file in files if file.rpartition("/")[2].lower() == name]
        if of_name:
            of_name.sort(key=lambda file: (file.count("/"), file))
            tables = [texts.read_text(root / file, file) for file in of_name]
            other = next((file for file, table in zip(of_name, tables, strict=True) if table != tables[0]), None)
            if other is not None:
                raise UserError(f"{of_name[0]} and {other} differ: keep only the one that is valid for the masks")
            return parse(tables[0], of_name[0])
    return None


def parse(text: str, source: str) -> Table:
    """Parse the text of a table, named `source` in messages. Lines that start with # are comments.

    Raise UserError naming `source` and the line if a line has a different form from the others, a number above 255, an
    empty name, or a duplicate name, number or colour, or if there are no lines.
    """
    lines = []
    for number, whole in enumerate(text.splitlines(), start=1):
        line = "\t".join(" ".join(cell.split()) for cell in whole.strip().split("\t"))
        if len(line) > _MAX_LINE:
            raise UserError(f"{source} line {number} has {len(line)} characters: write one class name per line")
        if line and not line.startswith("#"):
            lines.append((number, line))
    for form in _FORMS:
        matches = [(number, line, form.fullmatch(line)) for number, line in lines]
        if sum(match is not None for *_, match in matches) * 2 >= max(len(matches), 2):
            header = matches[0][2] is None
            return _table([_row(*parsed, source) for parsed in matches[header:]], source)
    return _table([(number, _name(line, number, source), None, None) for number, line in lines], source)


Row = tuple[int, str, Colour | None, int | None]


def _row(number: int, line: str, match: re.Match[str] | None, source: str) -> Row:
    if match is None:
        raise UserError(f"{source} line {number} is {line[:80]!r}: write it like the other lines")
    groups = match.groupdict()
    values = [int(groups[name]) for name in ("red", "green", "blue", "number") if groups.get(name)]
    if max(values) > IGNORE:
        raise UserError(f"{source} line {number} is {line[:80]!r}: numbers and colours must be at most 255")
    name = _name(groups["name"], number, source)
    if len(values) == 1:
        return number, name, None, values[0]
    red, green, blue = values
    return number, name, (red, green, blue), None


def _name(text: str, number: int, source: str) -> str:
    return class_name(text.strip().strip("\"'"), f"{source} line {number}: the name")


def _table(rows: Sequence[Row], source: str) -> Table:
    if not rows:
        raise UserError(f"{source} is empty: write one class name per line, or remove it")
    for place in (1, 2, 3):
        lines: dict[object, int] = {}
        for row in rows:
            other = row[0] if row[place] is None else lines.setdefault(row[place], row[0])
            if other != row[0]:
                raise UserError(f"{source} has {row[place]} in line {other} and in line {row[0]}: keep one of them")
    kept = [row for row in rows if row[1].lower() not in _IGNORED]
    return Table(
        source,
        tuple(name for _, name, _, _ in kept),
        tuple(colour for *_, colour, _ in kept if colour is not None),
        tuple(number for *_, number in kept if number is not None),
        tuple(colour for _, name, colour, _ in rows if name.lower() in _IGNORED and colour is not None),
    )
