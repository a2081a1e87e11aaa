"""A data set, whatever its layout: its photos, what is known of each, and the split that it comes with."""

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
"""What can be known of a photo: the names of its classes (`Labels`), its boxes (`Annotation`), or its mask (`Mask`)."""
TRAIN, VALIDATION = parts.TRAIN, parts.VALIDATION
NO_CLASS = "unused"
"""The name of a label that no photo has."""
UNUSABLE = "photos whose annotations cannot be used, skipped"

Target = TypeVar("Target")
Labels = tuple[str, ...]
"""The names of a photo's classes: one, or any number in a multi-label data set."""
Edges = tuple[float, float, float, float]
"""A box: left, top, right, bottom. Right and bottom lie behind the last pixel, so that right - left is the width."""


@dataclass(frozen=True)
class LabelledBox:
    """One object of a photo: the name of its class and its box, counted from the photo's upper left corner."""

    name: str
    box: Edges


@dataclass(frozen=True)
class Annotation:
    """The objects on a photo, there may be none, and what their boxes are measured in.

    `source` is what messages call the annotation, most often its file. `size` is the (width, height) in pixels of the
    photo that was annotated, or FRACTIONS, or UNKNOWN: pixels of the photo that is there. Pixels are of the photo as it
    is stored where its stored size is that, else of the upright one; fractions, and pixels of a size that is UNKNOWN,
    are of the stored photo unless `upright`.
    """

    source: str
    objects: tuple[LabelledBox, ...]
    size: tuple[int, int]
    upright: bool = False

    @property
    def classes(self) -> set[str]:
        """The names of the objects' classes."""
        return {one.name for one in self.objects}


FRACTIONS = (1, 1)
UNKNOWN = (0, 0)


@dataclass(frozen=True)
class Entry(Generic[Target]):
    """A photo of a data set: what it is called in a channel, without extension, its file, and what is known of it.

    Whether the file exists and is an image is for the reader to find out. `part` is TRAIN, VALIDATION, or "" where the
    data set names none; `group` is what a random split divides by.
    """

    name: str
    path: Path
    target: Target
    part: str = ""
    group: str = ""


@dataclass(frozen=True)
class DataSet(Generic[Target]):
    """What `prepare` makes channels of: the photos, in a defined order, and the names of the classes by label.

    `notes` are files that were left out, by the reason in words that a number follows. `pixels` are the numbers that a
    mask has for each label, where they are not the labels. `multi_label`: a photo may be of any number of classes.
    """

    root: Path
    entries: tuple[Entry[Target], ...]
    class_names: tuple[str, ...]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pixels: tuple[int, ...] = ()
    multi_label: bool = False

    @property
    def has_split(self) -> bool:
        """Whether the data set names photos to train on and others to validate on."""
        return {TRAIN, VALIDATION} <= {entry.part for entry in self.entries}

    def part(self, name: str) -> list[Entry[Target]]:
        """The photos of one part."""
        return [entry for entry in self.entries if entry.part == name]


def random_split(
    entries: Sequence[Entry[Target]], fraction: float, seed: int
) -> tuple[list[Entry[Target]], list[Entry[Target]]]:
    """Split group by group: round(`fraction` * n) of a group's n photos to train on, the rest held out.

    A group with two or more photos has at least one on each side. The same seed gives the same split.
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
    """Return for each photo the one of its `classes` that the fewest photos have, "" without any.

    As the `group` of photos of several classes it gives each class to both sides of a random split, where it can.
    """
    counts = Counter(name for names in classes for name in set(names))
    return [min(names, key=lambda name: (counts[name], name), default="") for names in map(set, classes)]


def make_entries(
    photos: Iterable[tuple[Path, str, Target, Iterable[str]]], in_folders: bool = False
) -> tuple[Entry[Target], ...]:
    """Return the entries of photos: each its file, its part, what is known of it, and its classes.

    The rarest_classes of a photo's classes is its group and, with `in_folders`, its folder in a channel.
    """
    found = list(photos)
    groups = rarest_classes([classes for *_, classes in found])
    names = channel_names([path for path, *_ in found], groups if in_folders else None)
    return tuple(
        Entry(name, path, known, part, group)
        for name, (path, part, known, _), group in zip(names, found, groups, strict=True)
    )


def class_name(text: str, what: str) -> str:
    """Return a class name as a line of classes.txt: without space around it, and one for any space within.

    Raises UserError, which begins with `what` the name is, for one that is empty or cannot be written.
    """
    name = " ".join(text.split())
    if not name:
        raise UserError(f"{what} is empty: give the class a name, like cat")
    if {"Cc", "Cs"} & {*map(unicodedata.category, name)}:
        raise UserError(f"{what} has control characters: give the class a name, like cat")
    return name
