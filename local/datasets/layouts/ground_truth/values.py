"""The values of labels in a manifest, checked: numbers of classes, boxes, colours of masks, and the classes' names.

Whoever reads one gets a UserError with the line and what is wrong there.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from local.datasets.dataset import Edges, class_name
from local.datasets.files.values import is_pixels, preview
from local.datasets.layouts.ground_truth.manifest import Json, Label
from local.datasets.masks.mask import Colour
from local.datasets.notes import RENUMBERED, Notes
from local.errors import UserError

_MAX_NUMBER = 1_000_000_000
_SIZE_FORM = '"image_size": [{"width": 500, "height": 400, "depth": 3}]'


class Boxes(NamedTuple):
    """The (width, height) in pixels of the photo that was annotated, and boxes in it, each with a number of a class."""

    size: tuple[int, int]
    boxes: list[tuple[int, Edges]]


def numbers(value: Json) -> int | list[int] | None:
    """A label of classes: a whole number from 0 or a list of them, also as a text, "0" or "[0, 2]"; None for others."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list):
        return _number(value)
    members = [number for number in map(_number, value) if number is not None]
    return members if len(members) == len(value) else None


def classes(label: Label) -> int | list[int]:
    """The number or the list of numbers that a label of classes is."""
    found = numbers(label.value)
    if found is None:
        raise UserError(
            f"{label.where} has a {label.name} of {preview(label.value)}: it is a number from 0, or a list of numbers"
        )
    return found


def is_multi_hot(lists: Sequence[tuple[list[int], dict[int, str]]]) -> bool:
    """Whether lists have a 0 or 1 for each class, as the built-in reads them, and not numbers, as Ground Truth writes.

    They have where all are of one length and some number is there twice, which no list of numbers has. Where that
    leaves it open (all are [0, 1] or [1, 0]) numbers have names.
    """
    lengths = {len(one) for one, _ in lists}
    if len(lengths) != 1 or lengths <= {0, 1} or any(number > 1 for one, _ in lists for number in one):
        return False
    return any(len(set(one)) < len(one) for one, _ in lists) or not any(names for _, names in lists)


def class_names(label: Label) -> dict[int, str]:
    """The names that the metadata give numbers of classes, in `class-map` or, of the label itself, in `class-name`."""
    found = {}
    declared = label.metadata.get("class-map", {})
    if not isinstance(declared, dict):
        raise UserError(
            f'{label.where} has a class-map of {preview(declared)}: it is an object, such as {{"0": "dog"}}'
        )
    for key, name in declared.items():
        found[_key(label, key, "class-map")] = _name(label, name)
    own = numbers(label.value)
    if isinstance(own, int) and "class-name" in label.metadata:
        found[own] = _name(label, label.metadata["class-name"])
    return found


def boxes(label: Label) -> Boxes:
    """The boxes of a photo; they may be empty or outside of it."""
    value = label.value if isinstance(label.value, dict) else {}
    sizes, things = value.get("image_size"), value.get("annotations")
    size = sizes[0] if isinstance(sizes, list) and sizes else sizes
    width, height = (round(_pixels(label, size, side, _SIZE_FORM)) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise UserError(f"{label.where} has an image_size of {width} x {height}: give the photo's own")
    if not isinstance(things, list):
        raise UserError(
            f'{label.where} has "annotations" of {preview(things)}: they are a list of boxes, [] on a photo without any'
        )
    found = []
    for thing in things:
        left, top, wide, high = (_pixels(label, thing, key, "a box") for key in ("left", "top", "width", "height"))
        number = numbers(thing.get("class_id"))
        if not isinstance(number, int):
            raise UserError(
                f"{label.where} has a box with a class_id of {preview(thing.get('class_id'))}: it is a number from 0"
            )
        found.append((number, (left, top, left + wide, top + high)))
    return Boxes((width, height), found)


def colour_map(label: Label) -> tuple[dict[int, str], dict[Colour, int]]:
    """The names of classes by number, and numbers by colour, where each class has a colour of its own."""
    declared = label.metadata.get("internal-color-map", {})
    if not isinstance(declared, dict):
        raise UserError(
            f"{label.where} has an internal-color-map of {preview(declared)}: it is an object with an object per class"
        )
    names: dict[int, str] = {}
    colours: dict[Colour, int] = {}
    for key, one in declared.items():
        number = _key(label, key, "internal-color-map")
        names[number] = _name(label, one.get("class-name") if isinstance(one, dict) else one)
        colour = one.get("hex-color") if isinstance(one, dict) else None
        if colour is None:
            continue
        if not isinstance(colour, str) or not re.fullmatch("#?[0-9a-fA-F]{6}", colour):
            raise UserError(f"{label.where} has a hex-color of {preview(colour)}: it is one like #2acf59")
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
        colours[red, green, blue] = number
    return names, colours if len(colours) == len(names) else {}


class ClassNames:
    """The names of all classes, gathered from many lines."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[int, tuple[str, str]] = {}
        self._used: set[int] = set()

    def add(self, where: str, names: Mapping[int, str], used: Iterable[int]) -> None:
        """Add what a line has. Raises UserError for a number that another line has given another name."""
        for number, name in names.items():
            other, there = self._names.setdefault(number, (name, where))
            if other != name:
                raise UserError(
                    f"{where} calls class {number} {name!r} and {there} calls it {other!r}: give each class a number "
                    "of its own, in all lines the same"
                )
        self._used.update(used)

    def by_number(self, notes: Notes) -> dict[int, str]:
        """The name of each number that was used, in the order of the numbers; in `notes`, those that cannot be labels.

        Raises UserError when no number was.
        """
        if not self._used:
            raise UserError(f"{self._root}: no line of its manifests has a class: there is nothing to train on")
        names = {number: self._names[number][0] for number in self._used if number in self._names}
        if names:
            notes["classes without a name, called by their number"] = [
                str(one) for one in sorted(self._used - set(names))
            ]
        every = {number: names.get(number, str(number)) for number in sorted(self._used)}
        labels = {name: label for label, name in enumerate(dict.fromkeys(every.values()))}
        notes[RENUMBERED] = [
            f"{number} is now {labels[name]}" for number, name in every.items() if labels[name] != number
        ]
        return every


def _number(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_NUMBER:
        return None
    return int(value) if value == int(value) else None


def _key(label: Label, key: str, where: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise UserError(
            f'{label.where} has a {where} with the key {preview(key)}: keys are numbers of classes, "0", "1"'
        )
    return int(key)


def _name(label: Label, value: Json) -> str:
    if not isinstance(value, str):
        raise UserError(f"{label.where} names a class {preview(value)}: give it a name, such as dog")
    return class_name(value, f"{label.where} names a class {preview(value)}, which")


def _pixels(label: Label, holder: Json, key: str, form: str) -> float:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not is_pixels(value):
        raise UserError(f"{label.where} has no number of pixels as {key!r} of {form} but {preview(value)}")
    return value
