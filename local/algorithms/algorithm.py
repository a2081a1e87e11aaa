"""The algorithms by name, and what every one of them has of its own: a module of this package, its room."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from local.algorithms.recipes import Hyperparameters
from local.datasets.channels import Photo, Summary, Taken
from local.datasets.pets import Pet, Pets
from local.images import TRAINING

Truth = TypeVar("Truth")
Answer = TypeVar("Answer")


class Room(Protocol[Truth, Answer]):
    """What a room holds. It has two types of its own: what is true of a photo, and an answer beside it."""

    CLASSES: tuple[str, ...]
    """What can be told apart, the default first: breed, species."""
    DEMO: str
    """What the demo tells apart, one of CLASSES."""
    FORMATS: tuple[str, ...]
    """The forms in which channels can be written, the default first: image, recordio."""
    SPLITS: tuple[str, ...]
    """The splits that there are, the default first: official, random."""
    UNUSED: str
    """In words, why a photo of the data set is in neither channel."""
    USABLE: str
    """In words, what a class needs: "photo"."""
    DRAWN: tuple[int, int]
    """Photos per breed to draw for the demo: of trainval.txt and of test.txt."""
    EPOCHS: tuple[int, int]
    """What was tried: epochs on the drawn data set, and on real photos."""
    NETWORK: str
    """What the recipe trains, in words that follow "Training": a ResNet-18."""
    ACCEPT: str
    """The form of reply that `answer` reads."""
    CURL: str
    """The command line, but for the photo and the address, with which a person asks an endpoint."""

    def candidates(self, pets: Pets) -> list[Pet]:
        """The photos that have what the algorithm needs, listed or not. Raises PetsError when there are none."""
        ...

    def class_names(self, photos: Iterable[Pet], classes: str) -> list[str]:
        """Names by label of what is told apart on `photos`; `classes` is one of CLASSES."""
        ...

    def truth(self, pets: Pets, pet: Pet, taken: Taken, summary: Summary) -> Truth:
        """What is true of the photo `taken`, with labels that count `summary.class_names`.

        Raises UserError, naming the file, when the photo has to be left out; notes in `summary` what it mended.
        """
        ...

    def labels(self, truth: Truth) -> Iterable[int]:
        """The labels of the classes on a photo."""
        ...

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write a channel in image form: photos into `building`/`channel`, which is there, the rest beside it."""
        ...

    def record_label(self, truth: Truth) -> float | Sequence[float]:
        """The label of an image record; only where FORMATS has recordio."""
        ...

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """The photos of a channel in image form, with what is true of them."""
        ...

    def recipe(self, drawn: bool, epochs: int | None, num_classes: int, num_training_samples: int) -> Hyperparameters:
        """Hyperparameters for the drawn data set or for real photos; `epochs` None means as many as were tried."""
        ...

    def forecast(self, recipe: Hyperparameters, cores: int) -> float:
        """Seconds that a job of the recipe takes on `cores` when nothing else runs, roughly."""
        ...

    def answer(self, photo: Path, truth: Truth, reply: bytes) -> Answer:
        """An endpoint's reply about a photo, in the form ACCEPT, beside what is true. Raises CommandFailed."""
        ...

    def table(self, answers: Sequence[Answer], names: Sequence[str]) -> str:
        """All answers in a table."""
        ...

    def sheet(self, answers: Sequence[Answer], names: Sequence[str], path: Path) -> None:
        """Write a PNG of some photos and what was said of them."""
        ...

    def last_line(self, answers: Sequence[Answer]) -> str:
        """The figure that sums up all answers."""
        ...

    def told(self, reply: Mapping[str, Any]) -> list[str] | None:
        """An endpoint's reply as application/json;verbose, in lines; None for the reply of another algorithm."""
        ...


def room(name: str) -> Room[Any, Any]:
    """The room of the algorithm `name`, one of TRAINING."""
    # Which one is known when it runs.
    return cast(Room[Any, Any], importlib.import_module(f"local.algorithms.{name.replace('-', '_')}"))


def rooms() -> list[Room[Any, Any]]:
    """Every room."""
    return [room(name) for name in TRAINING]
