"""The base class of the algorithms: channels, recipes, and the evaluation of predictions."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from PIL import Image

from local.algorithms import pages
from local.datasets.channels import LoadedPhoto, Photo, Summary
from local.datasets.dataset import Entry

Truth = TypeVar("Truth")
Prediction = TypeVar("Prediction")
Hyperparameters = dict[str, str | int | float]


class Algorithm(ABC, Generic[Truth, Prediction]):
    """One algorithm, with its types for the ground truth of a photo and for a prediction."""

    task: ClassVar[str]
    """One of dataset.TASKS."""
    classes: ClassVar[tuple[str, ...]]
    """The choices of classes for the pet data set, such as breed and species, with the default first."""
    demo_classes: ClassVar[str]
    """The demo's choice from `classes`."""
    formats: ClassVar[tuple[str, ...]] = ("image",)
    """The formats that channels can have, with the default first: image, recordio."""
    sample_phrase: ClassVar[str]
    """What the training data needs at least one of for each class, for messages: "photo with a box"."""
    needs_all_classes: ClassVar[bool] = False
    """Whether a class without a training photo is an error rather than a note."""
    photos_to_draw: ClassVar[tuple[int, int]]
    """Photos that the demo draws per breed: for trainval.txt and for test.txt."""
    network: ClassVar[str]
    """The network that the recipe trains, worded to follow "Training" in messages: "a ResNet-18"."""
    recipe_for_drawn: ClassVar[Hyperparameters]
    """Hyperparameters tuned on the drawn data set, except those that depend on its size."""
    recipe_for_photos: ClassVar[Hyperparameters]
    """The same for real photos."""
    lr_drops: ClassVar[tuple[float, ...]] = (0.75,)
    """The learning rate drops to a tenth after each of these fractions of the epochs."""
    job_seconds: ClassVar[float]
    """Measured duration of a job apart from its epochs: startup, reading the data, export and checks."""
    accept: ClassVar[str] = "application/json"
    """The content type of the responses that `parse_response` reads."""
    curl: ClassVar[str] = "curl -H 'Accept: application/json;verbose'"
    """The curl command for a request, without the photo and the URL."""
    sheet_size: ClassVar[tuple[int, int]]
    """Columns and rows of photos on a contact sheet."""

    def ordered(self, class_names: Sequence[str]) -> Sequence[str]:
        """Return a data set's class names in the order of their labels in training."""
        return class_names

    @abstractmethod
    def truth(self, entry: Entry[Any], photo: LoadedPhoto, summary: Summary) -> Truth:
        """Return the ground truth of a photo; labels are indices into `summary.class_names`.

        Repairs are noted in `summary`. Raises UserError, which names the file, if the photo must be skipped.
        """

    @abstractmethod
    def labels(self, truth: Truth) -> Iterable[int]:
        """Return the labels of the classes in a photo."""

    @abstractmethod
    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write a channel in image format: photos to the existing folder `building`/`channel`, the rest next to it."""

    def record_label(self, truth: Truth, summary: Summary) -> float | Sequence[float]:
        """Return the label of a RecordIO record. Only for algorithms with recordio in `formats`."""
        raise NotImplementedError

    @abstractmethod
    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """Return the photos of a channel in image format, each with its ground truth."""

    @property
    def epochs(self) -> tuple[int, int]:
        """The default epochs for the drawn data set and for real photos."""
        return int(self.recipe_for_drawn["epochs"]), int(self.recipe_for_photos["epochs"])

    def recipe(self, drawn: bool, epochs: int | None, sizes: Mapping[str, int]) -> Hyperparameters:
        """Return hyperparameters for the drawn data set or for real photos.

        If `epochs` is None, use the recipe's default. `sizes` is the `Summary.hyperparameters` of the channels. The
        batch is never larger than the data set, because the built-in algorithms reject that.
        """
        recipe = dict(self.recipe_for_drawn if drawn else self.recipe_for_photos)
        if epochs is not None:
            recipe["epochs"] = epochs
        last = int(recipe["epochs"])
        steps = sorted({round(last * share) for share in self.lr_drops} - {0, last})
        if steps:
            recipe["lr_scheduler_step"] = ",".join(map(str, steps))
        batch = min(int(recipe["mini_batch_size"]), sizes["num_training_samples"])
        return {**recipe, **sizes, "mini_batch_size": batch}

    def forecast(self, recipe: Hyperparameters, cores: int) -> float:
        """Return roughly how many seconds a job with the recipe takes on `cores` idle cores."""
        images = int(recipe["epochs"]) * int(recipe["num_training_samples"])
        return self.job_seconds + images * self.image_seconds(recipe) / cores

    @abstractmethod
    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Return the measured seconds that one core takes for one image of a training step."""

    @abstractmethod
    def parse_response(self, photo: Path, truth: Truth, response: bytes) -> Prediction:
        """Parse an endpoint's response, of content type `accept`. Raises CommandFailed if it has a different form."""

    @abstractmethod
    def table(self, predictions: Sequence[Prediction], names: Sequence[str]) -> str:
        """Return a table of all predictions."""

    @abstractmethod
    def summary_line(self, predictions: Sequence[Prediction]) -> str:
        """Return the metric over all predictions."""

    @abstractmethod
    def response_lines(self, response: Mapping[str, Any]) -> list[str] | None:
        """Format an application/json;verbose response for the terminal; None if it is another algorithm's."""

    def sheet(self, predictions: Sequence[Prediction], names: Sequence[str], path: Path) -> None:
        """Write a PNG with evenly spaced predictions, below the legend if there is one."""
        columns, rows = self.sheet_size
        cards = [self.card(prediction, names) for prediction in pages.evenly(predictions, columns * rows)]
        pages.write(cards, columns, path, self.legend(names))

    @abstractmethod
    def card(self, prediction: Prediction, names: Sequence[str]) -> Image.Image:
        """Draw a photo with its prediction; all cards have the same size."""

    def legend(self, names: Sequence[str]) -> Image.Image | None:
        """Draw a legend of the colours, or return None if there are none."""
        return None
