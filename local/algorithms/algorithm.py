"""The base class of the algorithms: what every one of them does with a data set, a recipe and an endpoint's answers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from PIL import Image

from local.algorithms import pages
from local.datasets.channels import LoadedPhoto, Photo, Summary
from local.datasets.dataset import Entry

Truth = TypeVar("Truth")
Answer = TypeVar("Answer")
Hyperparameters = dict[str, str | int | float]


class Algorithm(ABC, Generic[Truth, Answer]):
    """An algorithm has two types of its own: what is true of a photo, and an endpoint's answer beside that."""

    task: ClassVar[str]
    """What has to be known of a photo, one of dataset.TASKS."""
    classes: ClassVar[tuple[str, ...]]
    """What can be told apart in the pet data set, the default first: breed, species."""
    demo_classes: ClassVar[str]
    """What the demo tells apart, one of `classes`."""
    formats: ClassVar[tuple[str, ...]] = ("image",)
    """The forms in which channels can be written, the default first: image, recordio."""
    usable: ClassVar[str]
    """In words, what a class needs: "photo"."""
    needs_all_classes: ClassVar[bool] = False
    """Whether a class without a photo to train on is an error; else a remark."""
    photos_to_draw: ClassVar[tuple[int, int]]
    """For the demo, per breed: of trainval.txt and of test.txt."""
    network: ClassVar[str]
    """What the recipe trains, in words that follow "Training": a ResNet-18."""
    recipe_for_drawn: ClassVar[Hyperparameters]
    """The hyperparameters that were tried on the drawn data set, but for what depends on its size."""
    recipe_for_photos: ClassVar[Hyperparameters]
    """The same for real photos."""
    falls: ClassVar[tuple[float, ...]] = (0.75,)
    """Shares of the epochs after each of which the learning rate falls to a tenth."""
    job_seconds: ClassVar[float]
    """Measured: a job without its epochs (start, reading, export, checks)."""
    accept: ClassVar[str] = "application/json"
    """The form of reply that `answer` reads."""
    curl: ClassVar[str] = "curl -H 'Accept: application/json;verbose'"
    """The command line, but for the photo and the address, with which a person asks an endpoint."""
    sheet_size: ClassVar[tuple[int, int]]
    """Columns and rows of photos on a sheet."""

    def ordered(self, class_names: Sequence[str]) -> Sequence[str]:
        """A data set's class names in the order of the labels that training will give them."""
        return class_names

    @abstractmethod
    def truth(self, entry: Entry[Any], taken: LoadedPhoto, summary: Summary) -> Truth:
        """What is true of the photo `taken`, with labels that count `summary.class_names`.

        Raises UserError, naming the file, when the photo has to be left out; notes in `summary` what it repaired.
        """

    @abstractmethod
    def labels(self, truth: Truth) -> Iterable[int]:
        """The labels of the classes on a photo."""

    @abstractmethod
    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write a channel in image form: photos into `building`/`channel`, which exists, the rest beside it."""

    def record_label(self, truth: Truth, summary: Summary) -> float | Sequence[float]:
        """The label of an image record, where `formats` has recordio."""
        raise NotImplementedError

    @abstractmethod
    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """The photos of a channel in image form, with what is true of them."""

    @property
    def epochs(self) -> tuple[int, int]:
        """What was tried: epochs on the drawn data set, and on real photos."""
        return int(self.recipe_for_drawn["epochs"]), int(self.recipe_for_photos["epochs"])

    def recipe(self, drawn: bool, epochs: int | None, sizes: Mapping[str, int]) -> Hyperparameters:
        """Hyperparameters for the drawn data set or for real photos; `epochs` None means as many as were tried.

        `sizes` are those of the channels, as Summary.hyperparameters has them. A batch is never larger than the data
        set: the built-in refuses that.
        """
        recipe = dict(self.recipe_for_drawn if drawn else self.recipe_for_photos)
        if epochs is not None:
            recipe["epochs"] = epochs
        last = int(recipe["epochs"])
        steps = sorted({round(last * share) for share in self.falls} - {0, last})
        if steps:
            recipe["lr_scheduler_step"] = ",".join(map(str, steps))
        batch = min(int(recipe["mini_batch_size"]), sizes["num_training_samples"])
        return {**recipe, **sizes, "mini_batch_size": batch}

    def forecast(self, recipe: Hyperparameters, cores: int) -> float:
        """Seconds that a job of the recipe takes on `cores` when nothing else runs, roughly."""
        images = int(recipe["epochs"]) * int(recipe["num_training_samples"])
        return self.job_seconds + images * self.image_seconds(recipe) / cores

    @abstractmethod
    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured: seconds of one core per image of a training step."""

    @abstractmethod
    def answer(self, photo: Path, truth: Truth, reply: bytes) -> Answer:
        """An endpoint's reply about a photo, in the form `accept`, beside what is true. Raises CommandFailed."""

    @abstractmethod
    def table(self, answers: Sequence[Answer], names: Sequence[str]) -> str:
        """All answers in a table."""

    @abstractmethod
    def last_line(self, answers: Sequence[Answer]) -> str:
        """The figure that sums up all answers."""

    @abstractmethod
    def reply_lines(self, reply: Mapping[str, Any]) -> list[str] | None:
        """An endpoint's reply as application/json;verbose, in lines; None for the reply of another algorithm."""

    def sheet(self, answers: Sequence[Answer], names: Sequence[str], path: Path) -> None:
        """Write a PNG of some photos, evenly chosen, each with what was answered, below a legend if there is one."""
        columns, rows = self.sheet_size
        cards = [self.card(answer, names) for answer in pages.evenly(answers, columns * rows)]
        pages.write(cards, columns, path, self.legend(names))

    @abstractmethod
    def card(self, answer: Answer, names: Sequence[str]) -> Image.Image:
        """One photo of a sheet with its answer; all cards have the same size."""

    def legend(self, names: Sequence[str]) -> Image.Image | None:
        """What the colours of a sheet mean."""
        return None
