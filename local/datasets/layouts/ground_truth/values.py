"""Read and check the values of labels in a manifest: class numbers, boxes, mask colours and class names.

All functions that take a Label raise UserError naming the line and the problem.
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
    """The (width, height) in pixels of the annotated photo, and its boxes with their class numbers."""

    size: tuple[int, int]
    boxes: list[tuple[int, Edges]]


def numbers(value: Json) -> int | list[int] | None:
    """Parse a whole number from 0 or a list of them, or a string that holds either. Return None for other values."""
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
    """Return the class number, or list of class numbers, of a label."""
    value = numbers(label.value)
    if value is None:
        raise UserError(
            f"{label.where} has a {label.name} of {preview(label.value)}: expected a number from 0 or a list of numbers"
        )
    return value


def is_multi_hot(lists: Sequence[tuple[list[int], dict[int, str]]]) -> bool:
    """Return whether lists have a 0 or 1 for each class, as the built-in algorithm expects, and not class numbers.

    They are multi-hot if all have the same length and one repeats a number, which a list of class numbers cannot. If
    all are [0, 1] or [1, 0], they are class numbers only if the classes have names, as Ground Truth writes them.
    """
    lengths = {len(numbers) for numbers, _ in lists}
    if len(lengths) != 1 or lengths <= {0, 1} or any(number > 1 for numbers, _ in lists for number in numbers):
        return False
    return any(len(set(numbers)) < len(numbers) for numbers, _ in lists) or not any(names for _, names in lists)


def class_names(label: Label) -> dict[int, str]:
    """Return the class names by number from the metadata: `class-map`, or `class-name` for the label itself."""
    names = {}
    declared = label.metadata.get("class-map", {})
    if not isinstance(declared, dict):
        raise UserError(
            f'{label.where} has a class-map of {preview(declared)}: expected an object such as {{"0": "dog"}}'
        )
    for key, name in declared.items():
        names[_key(label, key, "class-map")] = _name(label, name)
    number = numbers(label.value)
    if isinstance(number, int) and "class-name" in label.metadata:
        names[number] = _name(label, label.metadata["class-name"])
    return names


def boxes(label: Label) -> Boxes:
    """Return the boxes of a photo. They may be empty or outside the photo."""
    value = label.value if isinstance(label.value, dict) else {}
    sizes, annotations = value.get("image_size"), value.get("annotations")
    size = sizes[0] if isinstance(sizes, list) and sizes else sizes
    width, height = (round(_pixels(label, size, side, _SIZE_FORM)) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise UserError(f"{label.where} has an image_size of {width} x {height}: give the size of the photo")
    if not isinstance(annotations, list):
        raise UserError(
            f'{label.where} has "annotations" of {preview(annotations)}: expected a list of boxes, which may be empty'
        )
    result = []
    for annotation in annotations:
        left, top, box_width, box_height = (
            _pixels(label, annotation, key, "a box") for key in ("left", "top", "width", "height")
        )
        number = numbers(annotation.get("class_id"))
        if not isinstance(number, int):
            raise UserError(
                f"{label.where} has a box with a class_id of {preview(annotation.get('class_id'))}: expected a number "
                "from 0"
            )
        result.append((number, (left, top, left + box_width, top + box_height)))
    return Boxes((width, height), result)


def colour_map(label: Label) -> tuple[dict[int, str], dict[Colour, int]]:
    """Return class names by number, and numbers by colour.

    The numbers by colour are empty unless each class has a unique colour.
    """
    declared = label.metadata.get("internal-color-map", {})
    if not isinstance(declared, dict):
        raise UserError(
            f"{label.where} has an internal-color-map of {preview(declared)}: expected an object with one object per "
            "class"
        )
    names: dict[int, str] = {}
    colours: dict[Colour, int] = {}
    for key, value in declared.items():
        number = _key(label, key, "internal-color-map")
        names[number] = _name(label, value.get("class-name") if isinstance(value, dict) else value)
        colour = value.get("hex-color") if isinstance(value, dict) else None
        if colour is None:
            continue
        if not isinstance(colour, str) or not re.fullmatch("#?[0-9a-fA-F]{6}", colour):
            raise UserError(f"{label.where} has a hex-color of {preview(colour)}: expected one like #2acf59")
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
        colours[red, green, blue] = number
    return names, colours if len(colours) == len(names) else {}


class ClassNames:
    """Collects the class names from many lines."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[int, tuple[str, str]] = {}
        self._used: set[int] = set()

    def add(self, where: str, names: Mapping[int, str], used: Iterable[int]) -> None:
        """Add the names and used numbers of a line. Raise UserError if two lines name a number differently."""
        for number, name in names.items():
            other, other_where = self._names.setdefault(number, (name, where))
            if other != name:
                raise UserError(
                    f"{where} calls class {number} {name!r} and {other_where} calls it {other!r}: give each class the "
                    "same unique number in all lines"
                )
        self._used.update(used)

    def by_number(self, notes: Notes) -> dict[int, str]:
        """Return the names of used numbers, in the order of the numbers. Note numbers that differ from their label.

        Raise UserError if no number was used.
        """
        if not self._used:
            raise UserError(f"{self._root}: no line of its manifests has a class: label some photos")
        names = {number: self._names[number][0] for number in self._used if number in self._names}
        if names:
            notes["classes without a name, named by their number"] = [
                str(number) for number in sorted(self._used - set(names))
            ]
        all_names = {number: names.get(number, str(number)) for number in sorted(self._used)}
        labels = {name: label for label, name in enumerate(dict.fromkeys(all_names.values()))}
        notes[RENUMBERED] = [
            f"{number} is now {labels[name]}" for number, name in all_names.items() if labels[name] != number
        ]
        return all_names


def _number(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_NUMBER:
        return None
    return int(value) if value == int(value) else None


def _key(label: Label, key: str, where: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise UserError(f'{label.where} has a {where} with the key {preview(key)}: keys are class numbers, such as "0"')
    return int(key)


def _name(label: Label, value: Json) -> str:
    if not isinstance(value, str):
        raise UserError(f"{label.where} names a class {preview(value)}: give it a name such as dog")
    return class_name(value, f"{label.where} names a class {preview(value)}, which")


def _pixels(label: Label, holder: Json, key: str, form: str) -> float:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not is_pixels(value):
        raise UserError(f"{label.where} has {preview(value)} as {key!r} of {form}: expected a number of pixels")
    return value
