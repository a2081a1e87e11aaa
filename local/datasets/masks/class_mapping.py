"""What the pixels of a data set's masks stand for, found from a look at all of them and a table, where there is one.

Numbers, of a grey picture or of places in a palette, become the labels of classes in their order; 255 is of no class,
unless 0 and 255 are the only numbers in all masks: then it is the object. Colours need a table that says what they are.
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
_LISTED = 20
_GREY, _COLOUR = (0,), (2, 6)


class MaskContents(NamedTuple):
    """What is in a mask: its numbers, each with the colour that it is shown in, and its colours.

    A picture of real colours has no numbers. `has_palette`: the numbers are places in a palette.
    """

    source: str
    numbers: Mapping[int, Colour]
    colours: Collection[Colour]
    has_palette: bool = False


class ClassMapping(NamedTuple):
    """The names of the classes, and the label of each number or, if there are any, of each colour.

    The label IGNORE is for no class. `pixels` are the numbers by label, () where they are the labels themselves;
    `binary`: 0 and 255 were the only numbers; `source` is what gave the names, "" for nothing.
    """

    names: tuple[str, ...]
    numbers: Mapping[int, int]
    colours: Mapping[Colour, int]
    pixels: tuple[int, ...] = ()
    binary: bool = False
    source: str = ""

    def labels(self, look: MaskContents) -> set[int]:
        """The labels in a mask. Raises UserError, naming the mask, for a number or a colour that stands for none."""
        if self.colours:
            strange = [f"the colour {_text(colour)}" for colour in look.colours if colour not in self.colours]
            labels = {self.colours.get(colour, IGNORE) for colour in look.colours}
        elif look.numbers:
            strange = [f"the number {number}" for number in look.numbers if number not in self.numbers]
            labels = {self.numbers.get(number, IGNORE) for number in look.numbers}
        else:
            raise UserError(f"{look.source} is a colour picture, unlike the others: save it as they are")
        if strange:
            named = f"{self.source} does not name" if self.source else "is of no class"
            raise UserError(f"{look.source} has {strange[0]}, which {named}: {self._known()}")
        return labels - {IGNORE}

    def read(self, path: Path, source: str) -> DecodedMask:
        """Read a mask: its labels, or the numbers that stand for them. Raises UserError naming `source`."""
        return colour_masks.read(path, source, self.colours, {}) if self.colours else mask.read_numbers(path, source)

    def describe(self, looks: Sequence[MaskContents]) -> list[str]:
        """Each number or colour that is in a mask with the name of its class."""
        numbers = {number for one in looks for number in one.numbers}
        colours = {colour for one in looks for colour in one.colours}
        shown = [(label, str(number)) for number, label in self.numbers.items() if number in numbers]
        shown += [(label, _text(colour)) for colour, label in self.colours.items() if colour in colours]
        named = [(one, self.names[label]) for label, one in sorted(shown) if label != IGNORE]
        return [one if one == name else f"{one} {name}" for one, name in named]

    def _known(self) -> str:
        known = [*map(str, sorted(self.numbers)), *map(_text, self.colours)]
        return f"known are {', '.join(known[:_LISTED])}{' and more' * (len(known) > _LISTED)}"


def inspect_mask(path: Path, source: str) -> MaskContents:
    """Decode a mask and look at what it holds. Raises UserError naming `source` for one that cannot be used."""
    data = mask.read_as_png(path, source)
    if data.startswith(b"\xff\xd8"):
        raise UserError(
            f"{source} is a JPEG, which blurs the numbers of classes: export the masks as PNG; black and white ones "
            "become PNG by `mogrify -format png -threshold 50% *.jpg` (ImageMagick)"
        )
    kind = data[25] if len(data) > 25 else None  # of the PNG's header: the colour type
    if kind in _COLOUR:
        colours = mask.read_colours(data, source, _MANY_COLOURS)
        is_grey = all(red == green == blue for red, green, blue in colours)
        return MaskContents(source, {colour[0]: colour for colour in colours} if is_grey else {}, colours)
    pixels = mask.decode_numbers(data, source).pixels
    found = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist()
    if palette := mask.read_palette(data, source):
        palette += [(0, 0, 0)] * (256 - len(palette))
        shown = {number: palette[number] for number in found}
        return MaskContents(source, shown, set(shown.values()), has_palette=True)
    spread = 255 // (2 ** data[24] - 1) or 1  # grey of 1, 2 or 4 bits is shown as 0 to 255
    shown = {number: (number * spread,) * 3 for number in found}
    return MaskContents(source, shown, set(shown.values()))


def find(root: Path, looks: Sequence[MaskContents], table: Table | None, guess: Table | None = None) -> ClassMapping:
    """Find what the pixels of all masks stand for, by `table` where there is one.

    Without one, `guess` counts where all masks have its colours, and none is grey. Raises UserError with the fix:
    colours, too many numbers or one number in several colours without a table; a table that cannot be of these masks.
    """
    in_colour = [one for one in looks if not one.numbers]
    if table is None and guess is not None and all(_are_of(guess, one) and _has_colours(one) for one in looks):
        table = guess
    if table and table.colours:
        by_colour = bool(in_colour) or all(_are_of(table, one) for one in looks)
    else:
        by_colour = 2 * len(in_colour) > len(looks)
    if not by_colour:
        return _by_number([one for one in looks if one.numbers], table)
    if table is None or not table.colours:
        raise UserError(_colours_unknown(root, in_colour, table))
    shown = [item for one in looks for item in one.numbers.items()]
    if not in_colour and all(table.labels[colour] == number for number, colour in shown):
        numbers = {label: label for label in range(len(table.names))} | {IGNORE: IGNORE}
        return ClassMapping(table.names, numbers, {}, source=table.source)
    return ClassMapping(table.names, {}, table.labels, source=table.source)


def _by_number(looks: Sequence[MaskContents], table: Table | None) -> ClassMapping:
    values = sorted({number for one in looks for number in one.numbers})
    binary = values == [0, IGNORE]
    counted = values if binary else [value for value in values if value != IGNORE]
    if table is None:
        _check_unnamed(looks, counted)
        names, numbers = tuple(map(str, counted)), tuple(counted)
        if binary:
            names = ("background", "object")
    else:
        names, numbers = table.names, table.numbers or tuple(range(len(table.names)))
        if binary and IGNORE not in numbers and len(names) == 1:
            names = ("background", *names)
        if not set(counted) <= set(numbers) and not table.numbers and len(counted) == len(names):
            numbers = tuple(counted)  # names in the order of the numbers
        elif binary and IGNORE not in numbers:
            raise UserError(
                f"{table.source} names {plural(len(names), 'class')} and the numbers in the masks are 0 and 255 alone: "
                "name two, background and object, or remove the file"
            )
    labels = {number: label for label, number in enumerate(numbers)}
    pixels = () if numbers == tuple(range(len(numbers))) else numbers
    return ClassMapping(names, {IGNORE: IGNORE} | labels, {}, pixels, binary, table.source if table else "")


def _check_unnamed(looks: Sequence[MaskContents], counted: Sequence[int]) -> None:
    """Raises UserError for numbers that cannot be classes unless a table says so."""
    if len(counted) > _MANY_NUMBERS:
        some = ", ".join(map(str, counted[:_LISTED]))
        raise UserError(
            f"masks, such as {looks[0].source}, have {len(counted)} numbers, {some} and more: these look like shades "
            "of a mask that was resized or smoothed, not like classes; export the masks again, or name all in "
            "classes.txt, one a line by number from 0"
        )
    seen: dict[int, tuple[Colour, str]] = {}
    for one in looks:
        for number, colour in one.numbers.items() if one.has_palette else ():
            first, source = seen.setdefault(number, (colour, one.source))
            if first != colour:
                raise UserError(
                    f"{source} and {one.source} have different palettes: the number {number} is {_text(first)} in one "
                    f"and {_text(colour)} in the other; {_TABLE}"
                )


def _colours_unknown(root: Path, looks: Sequence[MaskContents], table: Table | None) -> str:
    found = sorted({colour for one in looks[:_LISTED] for colour in one.colours})
    told = ", ".join(map(_text, found[:_LISTED])) + " and more" * (len(found) > _LISTED)
    lacks = f"{table.source} has names without colours" if table else f"{root} has no file that names colours"
    return f"{looks[0].source} is a colour picture, and {lacks}; the first masks have {told}: {_TABLE}"


_TABLE = "write class_dict.csv beside the folders, with a line like `road,128,64,128` for each class and its colour"


def _are_of(table: Table, one: MaskContents) -> bool:
    return set(one.colours) <= set(table.labels)


def _has_colours(one: MaskContents) -> bool:
    return one.has_palette or not one.numbers


def _text(colour: Colour) -> str:
    return " ".join(map(str, colour))
