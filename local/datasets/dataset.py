"""A data set, whatever its layout: its photos, what is known of each, and the split that it comes with."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from local.datasets import voc
from local.errors import UserError


class Entry(Protocol):
    """A photo of a data set."""

    @property
    def name(self) -> str:
        """What it is called in a channel, without extension; two of one class have two names."""
        ...


E = TypeVar("E", bound=Entry)


class DataSet(ABC, Generic[E]):
    """What `prepare` makes channels of."""

    layout: ClassVar[str]
    """What the layout is called."""
    classes: ClassVar[tuple[str, ...]] = ()
    """What can be told apart, the default first; nothing where that depends on the algorithm."""

    root: Path

    @property
    def place(self) -> Path:
        """The folder that messages name."""
        return self.root

    @abstractmethod
    def photo(self, entry: E) -> Path:
        """The file of a photo; whether it exists and is an image is for the reader to find out."""

    @abstractmethod
    def labelled(self) -> list[E]:
        """The photos whose class is known."""

    def annotated(self) -> list[E]:
        """The photos that have boxes. Raises UserError when none has."""
        raise UserError(f"{self.place} holds {self.layout}, which have no boxes: object-detection needs some")

    def segmented(self) -> list[E]:
        """The photos that have masks. Raises UserError when none has."""
        raise UserError(f"{self.place} holds {self.layout}, which have no masks: semantic-segmentation needs some")

    @abstractmethod
    def class_names(self, entries: Iterable[E], classes: str) -> list[str]:
        """The class names of `entries`, by label."""

    @abstractmethod
    def class_of(self, entry: E, classes: str) -> str:
        """The class of a photo, one of `class_names`."""

    def annotation(self, entry: E) -> voc.Annotation:
        """The boxes of a photo of `annotated`. Raises voc.AnnotationError."""
        raise NotImplementedError

    def annotation_file(self, entry: E) -> Path:
        """The file of these boxes."""
        raise NotImplementedError

    def mask(self, entry: E) -> Path:
        """The file of the mask of a photo of `segmented`."""
        raise NotImplementedError

    @abstractmethod
    def official(self) -> tuple[list[E], list[E]] | None:
        """The photos to train and to validate on that the data set names; None where it names none."""

    @abstractmethod
    def group(self, entry: E) -> str:
        """A random split takes its share of each group."""

    def strays(self) -> list[str]:
        """Files among the photos that are not photos by their names."""
        return []

    def unused(self, used: Iterable[E]) -> list[str]:
        """Photos by name that are not among `used`."""
        return []


def random_split(
    entries: Sequence[E], group: Callable[[E], str], fraction: float, seed: int
) -> tuple[list[E], list[E]]:
    """Split group by group: round(`fraction` * n) of a group's n photos to train on, the rest held out.

    A group with two or more photos has at least one on each side. The same seed gives the same split.
    """
    generator = random.Random(seed)
    groups: dict[str, list[E]] = {}
    for entry in entries:
        groups.setdefault(group(entry), []).append(entry)
    train: list[E] = []
    held_out: list[E] = []
    for members in groups.values():
        generator.shuffle(members)
        count = min(max(round(fraction * len(members)), 1), max(len(members) - 1, 1))
        train += members[:count]
        held_out += members[count:]
    return train, held_out
