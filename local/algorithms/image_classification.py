"""Image classification: its channels, the recipe of the demo, and the evaluation of predictions.

Channels in image format: train/CLASS/NAME.jpg, train_lst/train.lst (index, label, path below train/) and classes.txt,
the same for validation. Multi-label photos are directly in train/, and their lines have a 0 or 1 for each class. The
ground truth of a photo is its label or the tuple of its labels; the prediction is a probability per class.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image, ImageDraw, ImageFont, ImageOps

from local.algorithms import multi_label, report
from local.algorithms.algorithm import Algorithm, Hyperparameters
from local.datasets.channels import LoadedPhoto, Photo, Summary, write_class_names
from local.datasets.dataset import CLASSIFICATION, Entry, Labels
from local.datasets.names import folder_names
from serve import preprocess

_MAX_TABLE_WIDTH = 110
_CORNER = "true, predicted as"
_THUMBNAIL = 150
_CAPTION = 38


Truth = int | tuple[int, ...]


@dataclass(frozen=True)
class Prediction:
    """A photo, its true label or labels, and the predicted probability of each class."""

    photo: Path
    label: Truth
    probabilities: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """The label with the highest probability."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def right(self) -> bool:
        """Whether the most probable class is the true one; multi-label: whether exactly the true ones are above 0.5."""
        if isinstance(self.label, int):
            return self.predicted == self.label
        return multi_label.above_half(self.probabilities) == set(self.label)


class ImageClassification(Algorithm[Truth, Prediction]):
    """A ResNet with MXNet."""

    task = CLASSIFICATION
    classes = ("breed", "species")
    demo_classes = "breed"
    formats: ClassVar[tuple[str, ...]] = ("image", "recordio")
    sample_phrase = "photo"
    needs_all_classes = True
    photos_to_draw = (60, 15)
    network = "a ResNet-18"
    # A ResNet-18 from scratch reaches 0.97 after 24 epochs, 0.93 after 16. Training with nag is slower on drawn pets.
    recipe_for_drawn: ClassVar[Hyperparameters] = {
        "num_layers": 18,
        "image_shape": "3,64,64",
        "resize": 72,
        "epochs": 24,
        "mini_batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 0.002,
        "augmentation_type": "crop",
    }
    recipe_for_photos: ClassVar[Hyperparameters] = {
        "num_layers": 18,
        "image_shape": "3,128,128",
        "resize": 144,
        "epochs": 40,
        "mini_batch_size": 32,
        "optimizer": "nag",
        "learning_rate": 0.05,
        "weight_decay": 0.0005,
        "augmentation_type": "crop_color_transform",
    }
    lr_drops: ClassVar[tuple[float, ...]] = (0.6, 0.85)
    job_seconds = 10
    sheet_size = (6, 5)

    def truth(self, entry: Entry[Labels], photo: LoadedPhoto, summary: Summary) -> Truth:
        """Return a photo's label, or the tuple of its labels if the data set is multi-label."""
        labels = tuple(sorted(map(summary.class_names.index, entry.target)))
        return labels if summary.multi_label else labels[0]

    def labels(self, truth: Truth) -> tuple[int, ...]:
        """Return the labels of a photo."""
        return (truth,) if isinstance(truth, int) else truth

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write a channel in image format: photos in class folders, the .lst file and classes.txt."""
        lists = building / f"{channel}_lst"
        lists.mkdir()
        with (lists / f"{channel}.lst").open("w", encoding="utf-8") as listing:
            for index, (path, truth) in enumerate(write_photos(building / channel, photos, summary)):
                columns = [truth] if isinstance(truth, int) else _multi_hot(truth, summary)
                listing.write("\t".join(map(str, [index, *columns, path])) + "\n")
        write_class_names(lists, summary.class_names)

    def record_label(self, truth: Truth, summary: Summary) -> float | list[int]:
        """Return the label of a RecordIO record; multi-label: a 0 or 1 for each class."""
        return float(truth) if isinstance(truth, int) else _multi_hot(truth, summary)

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """Return the photos of a channel in image format with their labels, in the order of the .lst file."""
        listing = channels / f"{channel}_lst" / f"{channel}.lst"
        rows = (line.split("\t") for line in listing.read_text(encoding="utf-8").split("\n") if line)
        return [(channels / channel / path, _truth(labels)) for _, *labels, path in rows]

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured with ResNet-18: a constant part, plus a part per 128 x 128 pixels."""
        return 0.010 + 0.027 * area(recipe)

    def parse_response(self, photo: Path, truth: Truth, response: bytes) -> Prediction:
        """Parse a response, an array of probabilities. Raises CommandFailed for anything else."""

        def parse(values: Any) -> tuple[float, ...]:
            values[max(self.labels(truth), default=0)]  # raises unless there is a probability for the true class
            return tuple(map(float, values))

        expected = "an array with a probability per class"
        return Prediction(photo, truth, report.parse_json(response, photo, expected, parse))

    def table(self, predictions: Sequence[Prediction], names: Sequence[str]) -> str:
        """Return the confusion matrix; rows are true classes, columns predicted ones.

        Returns a line per class if the matrix is too wide or the data set is multi-label.
        """
        if multi := _multi_label(predictions):
            return multi_label.table(multi, names)
        counts = Counter(
            (prediction.label, prediction.predicted) for prediction in predictions if isinstance(prediction.label, int)
        )
        name_width = max(map(len, (*names, _CORNER)))
        widths = [max(len(name), 4) for name in names]
        if name_width + sum(widths) + 2 * len(widths) > _MAX_TABLE_WIDTH:
            return _class_lines(counts, names)
        rows = ["  ".join([_CORNER.ljust(name_width), *map(str.rjust, names, widths)])]
        for label, name in enumerate(names):
            cells = [str(counts[label, predicted] or ".") for predicted in range(len(names))]
            rows.append("  ".join([name.ljust(name_width), *map(str.rjust, cells, widths)]))
        return "\n".join(rows)

    def summary_line(self, predictions: Sequence[Prediction]) -> str:
        """Return `accuracy 0.97 (58 of 60)` or, for multi-label, `F1 0.81 (of all labels of 60 photos)`."""
        if multi := _multi_label(predictions):
            return multi_label.summary_line(multi)
        right = sum(prediction.right for prediction in predictions)
        return f"accuracy {right / len(predictions):.2f} ({right} of {len(predictions)})"

    def response_lines(self, response: Mapping[str, Any]) -> list[str] | None:
        """Return the predicted class and its probability; None if the response is another algorithm's."""
        if "predicted_label" not in response:
            return None
        return [f"{response['predicted_label']}  {max(response['probabilities']):.3f}"]

    def card(self, prediction: Prediction, names: Sequence[str]) -> Image.Image:
        """Draw a photo with its predicted class, and a green bar if that is right, else a red one."""
        right = prediction.right
        card = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL + _CAPTION), (226, 243, 229) if right else (252, 224, 222))
        photo = preprocess.decode(prediction.photo.read_bytes(), short_side=_THUMBNAIL)
        card.paste(ImageOps.fit(photo, (_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR))
        pen = ImageDraw.Draw(card)
        pen.rectangle((0, _THUMBNAIL, _THUMBNAIL, _THUMBNAIL + 3), fill=(46, 145, 72) if right else (204, 60, 52))
        probabilities = prediction.probabilities
        labels = [prediction.predicted]
        if not isinstance(prediction.label, int):
            labels = sorted(multi_label.above_half(probabilities))
        predicted = ", ".join(f"{names[label]} {probabilities[label]:.2f}" for label in labels) or "none"
        pen.text((5, _THUMBNAIL + 5), predicted, fill=(30, 30, 30), font=ImageFont.load_default(13))
        true = ", ".join(names[label] for label in self.labels(prediction.label)) or "none"
        truth = "right" if right else f"is {true}"
        pen.text((5, _THUMBNAIL + 21), truth, fill=(90, 90, 90), font=ImageFont.load_default(12))
        return card


ALGORITHM = ImageClassification()


def area(recipe: Hyperparameters) -> float:
    """Return the area of the network's input, in units of 128 x 128 pixels."""
    _, height, width = map(int, str(recipe["image_shape"]).split(","))
    return height * width / 128**2


def write_photos(folder: Path, photos: Iterable[Photo[Truth]], summary: Summary) -> Iterator[tuple[str, Truth]]:
    """Write photos into class folders and yield each photo's path below `folder` and its ground truth.

    Multi-label photos go directly into `folder`.
    """
    folders = [] if summary.multi_label else folder_names(summary.class_names)
    for name in folders:
        (folder / name).mkdir()
    for photo in photos:
        path = f"{photo.entry.name}.jpg"
        if isinstance(photo.truth, int):
            path = f"{folders[photo.truth]}/{path}"
        (folder / path).write_bytes(photo.data)
        yield path, photo.truth


def _multi_hot(labels: Sequence[int], summary: Summary) -> list[int]:
    """Return a 0 or 1 for each class."""
    return [int(label in labels) for label in range(len(summary.class_names))]


def _truth(labels: Sequence[str]) -> Truth:
    """Return the ground truth from the label columns of a line in a .lst file."""
    return int(labels[0]) if len(labels) == 1 else tuple(label for label, value in enumerate(labels) if int(value))


def _multi_label(predictions: Sequence[Prediction]) -> list[multi_label.Prediction]:
    """Return the labels and probabilities of the multi-label predictions."""
    return [
        (set(prediction.label), prediction.probabilities)
        for prediction in predictions
        if not isinstance(prediction.label, int)
    ]


def _class_lines(counts: Counter[tuple[int, int]], names: Sequence[str]) -> str:
    """Return a line per class, like `Abyssinian   61 of 70 right, mistaken for Bengal 6, Egyptian_Mau 3`."""
    name_width = max(map(len, names))
    rows = []
    for label, name in enumerate(names):
        row = {predicted: count for (true, predicted), count in counts.items() if true == label}
        wrong = sorted(((count, names[other]) for other, count in row.items() if other != label), reverse=True)
        mistaken = ", mistaken for " + ", ".join(f"{other} {count}" for count, other in wrong[:3]) if wrong else ""
        rows.append(f"{name:<{name_width}}  {row.get(label, 0):>4} of {sum(row.values()):>4} right{mistaken}")
    return "\n".join(rows)
