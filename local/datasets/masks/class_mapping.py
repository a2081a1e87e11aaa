"""Map the pixels of a data set's masks to classes, from the contents of all masks and an optional table.

Numbers are grey values or palette indices. They become labels in ascending order. 255 is ignored, unless 0 and 255 are
the only numbers in all masks; then 255 is the object. Colours need a table.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from local.datasets.masks import colours as colour_masks
from local.datasets.masks import mask
from local.datasets.masks.mask import Colour, DecodedMask
from local.datasets.masks.table import Table
from local.errors import UserError
from serve.words import plural
from train.semantic_segmentation.masks import IGNORE

_MANY_COLOURS = 4096
_MANY_NUMBERS = 64
_MAX_LISTED = 20
_COLOUR_TYPES = (2, 6)  # of PNG: RGB and RGBA


class MaskContents(NamedTuple):
    """The contents of a mask: its numbers, each with the colour in which it is shown, and its colours.

    A true-colour picture has no numbers. With `has_palette`, the numbers are palette indices.
    """

    source: str
    numbers: Mapping[int, Colour]
    colours: Collection[Colour]
    has_palette: bool = False


class ClassMapping(NamedTuple):
    """The class names, and the label of each number, or of each colour if `colours` is not empty.

    The label IGNORE means no class. `pixels` are the numbers by label, or () if each equals its label. `binary` is set
    if 0 and 255 are the only numbers. `source` is the table that gave the names, or "".
    """

    names: tuple[str, ...]
    numbers: Mapping[int, int]
    colours: Mapping[Colour, int]
    pixels: tuple[int, ...] = ()
    binary: bool = False
    source: str = ""

    def labels(self, contents: MaskContents) -> set[int]:
        """Return the labels in a mask. Raise UserError naming the mask if a number or colour has no label."""
        if self.colours:
            unknown = [f"the colour {_text(colour)}" for colour in contents.colours if colour not in self.colours]
            labels = {self.colours.get(colour, IGNORE) for colour in contents.colours}
        elif contents.numbers:
            unknown = [f"the number {number}" for number in contents.numbers if number not in self.numbers]
            labels = {self.numbers.get(number, IGNORE) for number in contents.numbers}
        else:
            raise UserError(f"{contents.source} is a colour picture, unlike the other masks: save it like them")
        if unknown:
            problem = f"is not in {self.source}" if self.source else "has no class"
            raise UserError(f"{contents.source} has {unknown[0]}, which {problem}: {self._expected()}")
        return labels - {IGNORE}

    def read(self, path: Path, source: str) -> DecodedMask:
        """Read a mask as labels if the mapping has colours, else as numbers. Raise UserError naming `source`."""
        return colour_masks.read(path, source, self.colours, {}) if self.colours else mask.read_numbers(path, source)

    def describe(self, masks: Sequence[MaskContents]) -> list[str]:
        """Describe each number or colour in the masks with its class name."""
        numbers = {number for contents in masks for number in contents.numbers}
        colours = {colour for contents in masks for colour in contents.colours}
        values = [(label, str(number)) for number, label in self.numbers.items() if number in numbers]
        values += [(label, _text(colour)) for colour, label in self.colours.items() if colour in colours]
        named = [(value, self.names[label]) for label, value in sorted(values) if label != IGNORE]
        return [value if value == name else f"{value} {name}" for value, name in named]

    def _expected(self) -> str:
        return f"expected {_list([*map(str, sorted(self.numbers)), *map(_text, self.colours)])}"


def inspect_mask(path: Path, source: str) -> MaskContents:
    """Decode a mask and return its contents. Raise UserError naming `source` if it cannot be used."""
    data = mask.read_as_png(path, source)
    if data.startswith(b"\xff\xd8"):
        raise UserError(
            f"{source} is a JPEG, which blurs class numbers: export the masks as PNG; for black and white masks "
            "use `mogrify -format png -threshold 50% *.jpg` (ImageMagick)"
        )
    colour_type = data[25] if len(data) > 25 else None  # in the header of the PNG
    if colour_type in _COLOUR_TYPES:
        colours = mask.read_colours(data, source, _MANY_COLOURS)
        is_grey = all(red == green == blue for red, green, blue in colours)
        return MaskContents(source, {colour[0]: colour for colour in colours} if is_grey else {}, colours)
    pixels = mask.decode_numbers(data, source).pixels
    numbers = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist()
    if palette := mask.read_palette(data, source):
        palette += [(0, 0, 0)] * (256 - len(palette))
        shown = {number: palette[number] for number in numbers}
        return MaskContents(source, shown, set(shown.values()), has_palette=True)
    spread = 255 // (2 ** data[24] - 1) or 1  # grey of 1, 2 or 4 bits is shown as 0 to 255
    shown = {number: (number * spread,) * 3 for number in numbers}
    return MaskContents(source, shown, set(shown.values()))


def find(root: Path, masks: Sequence[MaskContents], table: Table | None, guess: Table | None = None) -> ClassMapping:
    """Return the class mapping of all masks, using `table` if there is one.

    Without a table, use `guess` if all masks have only its colours and none is grey. Raise UserError with the fix if
    there is no table and the masks have colours, too many numbers, or a number with several colours, or if the table
    does not fit the masks.
    """
    in_colour = [contents for contents in masks if not contents.numbers]
    if table is None and guess is not None and all(_fits(guess, item) and _has_colours(item) for item in masks):
        table = guess
    if table and table.colours:
        by_colour = bool(in_colour) or all(_fits(table, contents) for contents in masks)
    else:
        by_colour = 2 * len(in_colour) > len(masks)
    if not by_colour:
        return _by_number([contents for contents in masks if contents.numbers], table)
    if table is None or not table.colours:
        raise UserError(_missing_colours(root, in_colour, table))
    shown = [item for contents in masks for item in contents.numbers.items()]
    if not in_colour and all(table.labels[colour] == number for number, colour in shown):
        numbers = {label: label for label in range(len(table.names))} | {IGNORE: IGNORE}
        return ClassMapping(table.names, numbers, {}, source=table.source)
    return ClassMapping(table.names, {}, table.labels, source=table.source)


def _by_number(masks: Sequence[MaskContents], table: Table | None) -> ClassMapping:
    values = sorted({number for contents in masks for number in contents.numbers})
    binary = values == [0, IGNORE]
    used = values if binary else [value for value in values if value != IGNORE]
    if table is None:
        _check_unnamed(masks, used)
        names, numbers = tuple(map(str, used)), tuple(used)
        if binary:
            names = ("background", "object")
    else:
        names, numbers = table.names, table.numbers or tuple(range(len(table.names)))
        if binary and IGNORE not in numbers and len(names) == 1:
            names = ("background", *names)
        if not set(used) <= set(numbers) and not table.numbers and len(used) == len(names):
            numbers = tuple(used)  # names in the order of the numbers
        elif binary and IGNORE not in numbers:
            raise UserError(
                f"{table.source} names {plural(len(names), 'class')} and the masks have only the numbers 0 and 255: "
                "name two classes, background and object, or remove the file"
            )
    labels = {number: label for label, number in enumerate(numbers)}
    pixels = () if numbers == tuple(range(len(numbers))) else numbers
    return ClassMapping(names, {IGNORE: IGNORE} | labels, {}, pixels, binary, table.source if table else "")


def _check_unnamed(masks: Sequence[MaskContents], used: Sequence[int]) -> None:
    """Raise UserError for numbers that are probably not classes."""
    if len(used) > _MANY_NUMBERS:
        raise UserError(
            f"masks such as {masks[0].source} have {len(used)} numbers, {_list(list(map(str, used)))}: these look like "
            "shades of a mask that was resized or smoothed, not like classes; export the masks again, or name all "
            "classes in classes.txt, one per line by number from 0"
        )
    seen: dict[int, tuple[Colour, str]] = {}
    for contents in masks:
        for number, colour in contents.numbers.items() if contents.has_palette else ():
            first, source = seen.setdefault(number, (colour, contents.source))
            if first != colour:
                raise UserError(
                    f"{source} and {contents.source} have different palettes: the number {number} is {_text(first)} in "
                    f"one and {_text(colour)} in the other; {_TABLE}"
                )


def _missing_colours(root: Path, masks: Sequence[MaskContents], table: Table | None) -> str:
    colours = sorted({colour for contents in masks[:_MAX_LISTED] for colour in contents.colours})
    problem = f"{table.source} has names without colours" if table else f"{root} has no file that names colours"
    listed = _list([*map(_text, colours)])
    return f"{masks[0].source} is a colour picture, and {problem}; the first masks have {listed}: {_TABLE}"


def _list(values: Sequence[str]) -> str:
    more = " and more" if len(values) > _MAX_LISTED else ""
    return ", ".join(values[:_MAX_LISTED]) + more


_TABLE = "write class_dict.csv next to the folders, with a line like `road,128,64,128` for each class and its colour"


def _fits(table: Table, contents: MaskContents) -> bool:
    return set(contents.colours) <= set(table.labels)


def _has_colours(contents: MaskContents) -> bool:
    return contents.has_palette or not contents.numbers


def _text(colour: Colour) -> str:
    return " ".join(map(str, colour))
