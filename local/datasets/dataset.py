"""A data set in any layout: its photos, a target for each, and the split that it comes with."""

import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from local.datasets.names import channel_names
from local.errors import UserError
from train.data import parts

CLASSIFICATION, DETECTION, SEGMENTATION = TASKS = ("classification", "detection", "segmentation")
"""The tasks and their targets: class names (`Labels`), boxes (`Annotation`) and masks (`masks.mask.Mask`)."""
TRAIN, VALIDATION = parts.TRAIN, parts.VALIDATION
NO_CLASS = "unused"
"""The name of a label without photos."""
UNUSABLE = "photos whose annotations cannot be used, skipped"

Target = TypeVar("Target")
Labels = tuple[str, ...]
"""The class names of a photo: one, or any number in a multi-label data set."""
Edges = tuple[float, float, float, float]
"""A box: left, top, right, bottom. Right and bottom are one past the last pixel, so the width is right - left."""


@dataclass(frozen=True)
class LabelledBox:
    """An object in a photo: its class name and its box, measured from the upper left corner."""

    name: str
    box: Edges


@dataclass(frozen=True)
class Annotation:
    """The labelled boxes of a photo, possibly none, and the unit of their coordinates.

    `source` is the annotation's name in messages, usually its file. `size` is the (width, height) in pixels of the
    photo that was annotated. It is FRACTIONS if boxes are in fractions of the photo, and UNKNOWN if they are in pixels
    but the annotation gives no size.

    Pixels refer to the stored photo if its stored size is `size`, else to the upright photo. Fractions, and pixels of
    UNKNOWN size, refer to the stored photo unless `upright` is set.
    """

    source: str
    objects: tuple[LabelledBox, ...]
    size: tuple[int, int]
    upright: bool = False

    @property
    def classes(self) -> set[str]:
        """The class names of the objects."""
        return {item.name for item in self.objects}


FRACTIONS = (1, 1)
UNKNOWN = (0, 0)


@dataclass(frozen=True)
class Entry(Generic[Target]):
    """A photo of a data set: its name in a channel without the extension, its path, and its target.

    The file may be missing or unreadable. `part` is TRAIN, VALIDATION, or "" if the data set does not say. A random
    split is stratified by `group`.
    """

    name: str
    path: Path
    target: Target
    part: str = ""
    group: str = ""


@dataclass(frozen=True)
class DataSet(Generic[Target]):
    """The input of `prepare`: the photos in a fixed order, and the class names by label.

    `notes` lists files that were left out, by reason. A reason is a phrase that precedes a count. `pixels` holds the
    mask value of each label, and is empty if each equals its label. With `multi_label`, a photo may have any number of
    classes.
    """

    root: Path
    entries: tuple[Entry[Target], ...]
    class_names: tuple[str, ...]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pixels: tuple[int, ...] = ()
    multi_label: bool = False

    @property
    def has_split(self) -> bool:
        """Whether the data set has a training part and a validation part."""
        return {TRAIN, VALIDATION} <= {entry.part for entry in self.entries}

    def part(self, name: str) -> list[Entry[Target]]:
        """Return the photos of one part."""
        return [entry for entry in self.entries if entry.part == name]


def random_split(
    entries: Sequence[Entry[Target]], fraction: float, seed: int
) -> tuple[list[Entry[Target]], list[Entry[Target]]]:
    """Split each group: round(`fraction` * n) of its n photos are for training, the rest for validation.

    A group of two or more photos has at least one on each side. The same seed gives the same split.
    """
    generator = random.Random(seed)
    groups: dict[str, list[Entry[Target]]] = defaultdict(list)
    for entry in entries:
        groups[entry.group].append(entry)
    train: list[Entry[Target]] = []
    held_out: list[Entry[Target]] = []
    for members in groups.values():
        generator.shuffle(members)
        count = min(max(round(fraction * len(members)), 1), max(len(members) - 1, 1))
        train += members[:count]
        held_out += members[count:]
    return train, held_out


def rarest_classes(classes: Sequence[Iterable[str]]) -> list[str]:
    """Return the rarest class of each photo, or "" for a photo without classes. `classes` has one item per photo.

    Used as the `group` of multi-label photos, it puts each class on both sides of a random split if possible.
    """
    counts = Counter(name for names in classes for name in set(names))
    return [min(names, key=lambda name: (counts[name], name), default="") for names in map(set, classes)]


def make_entries(
    photos: Iterable[tuple[Path, str, Target, Iterable[str]]], in_folders: bool = False
) -> tuple[Entry[Target], ...]:
    """Return entries for photos given as (path, part, target, classes).

    The rarest class of a photo is its group and, with `in_folders`, its folder in a channel.
    """
    rows = list(photos)
    groups = rarest_classes([classes for *_, classes in rows])
    names = channel_names([path for path, *_ in rows], groups if in_folders else None)
    return tuple(
        Entry(name, path, target, part, group)
        for name, (path, part, target, _), group in zip(names, rows, groups, strict=True)
    )


def class_name(text: str, what: str) -> str:
    """Return a class name for classes.txt: stripped, with each run of whitespace replaced by one space.

    Raise UserError if the name is empty or has control characters. The message begins with `what`.
    """
    name = " ".join(text.split())
    if not name:
        raise UserError(f"{what} is empty: give the class a name, like cat")
    if {"Cc", "Cs"} & {*map(unicodedata.category, name)}:
        raise UserError(f"{what} has control characters: give the class a name, like cat")
    return name
