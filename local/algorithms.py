"""The algorithms by name, and what every one of them has of its own: a module of this package, its room."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from local.channels import Photo, Summary, Taken
from local.pets import Pet, Pets
from local.recipes import Hyperparameters

ROOMS = {"image-classification": "local.image_classification", "object-detection": "local.object_detection"}
NAMES = tuple(ROOMS)
LATER = ("semantic-segmentation", "image-classification-tensorflow")


class Room(Protocol):
    """What a room holds. `Any` stands for its own two types: what is true of a photo, and an answer beside it."""

    CLASSES: str
    """What is told apart unless somebody asks for the other: breed or species."""
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

    def candidates(self, pets: Pets) -> list[Pet]:
        """The photos that a random split divides. Raises PetsError when there are none."""
        ...

    def truth(self, pets: Pets, pet: Pet, taken: Taken, summary: Summary) -> Any:
        """What is true of the photo `taken`, with labels that count `summary.class_names`.

        Raises UserError, naming the file, when the photo has to be left out; notes in `summary` what it mended.
        """
        ...

    def labels(self, truth: Any) -> Iterable[int]:
        """The labels of the classes on a photo."""
        ...

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo], summary: Summary) -> None:
        """Write a channel in image form: photos into `building`/`channel`, which is there, the rest beside it."""
        ...

    def record_label(self, truth: Any) -> float | Sequence[float]:
        """The label of an image record."""
        ...

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Any]]:
        """The photos of a channel in image form, with what is true of them."""
        ...

    def recipe(self, drawn: bool, epochs: int | None, num_classes: int, num_training_samples: int) -> Hyperparameters:
        """Hyperparameters for the drawn data set or for real photos; `epochs` None means as many as were tried."""
        ...

    def forecast(self, recipe: Hyperparameters, cores: int) -> float:
        """Seconds that a job of the recipe takes on `cores` when nothing else runs, roughly."""
        ...

    def answer(self, photo: Path, truth: Any, reply: bytes) -> Any:
        """An endpoint's reply about a photo, as application/json, beside what is true. Raises CommandFailed."""
        ...

    def table(self, answers: Sequence[Any], names: Sequence[str]) -> str:
        """All answers in a table."""
        ...

    def sheet(self, answers: Sequence[Any], names: Sequence[str], path: Path) -> None:
        """Write a PNG of some photos and what was said of them."""
        ...

    def last_line(self, answers: Sequence[Any]) -> str:
        """The figure that sums up all answers."""
        ...

    def told(self, reply: Mapping[str, Any]) -> list[str] | None:
        """An endpoint's reply as application/json;verbose, in lines; None for the reply of another algorithm."""
        ...


def room(name: str) -> Room:
    """The room of the algorithm `name`, one of NAMES."""
    return cast(Room, importlib.import_module(ROOMS[name]))


def rooms() -> list[Room]:
    """Every room."""
    return [room(name) for name in NAMES]
