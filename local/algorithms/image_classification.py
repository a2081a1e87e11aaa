"""Image classification: its channels, the recipe of the demo, and how an endpoint's answers are judged.

Channels in image form: train/CLASS/NAME.jpg, train_lst/train.lst (index, label, path below train/) and classes.txt, the
same for validation; multi-label photos lie in train/ itself, and their lines have a 0 or 1 for each class. What is true
of a photo is its label, or the tuple of its labels; what an endpoint answers, a probability per class.
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

_WIDEST_TABLE = 110
_CORNER = "true, predicted as"
_THUMBNAIL = 150
_CAPTION = 38


Truth = int | tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """A photo, its label or labels, and the endpoint's probabilities, one per class."""

    photo: Path
    label: Truth
    probabilities: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """The label of the highest probability."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def right(self) -> bool:
        """Whether the most probable class is the true one; multi-label: those above one half are the true ones."""
        if isinstance(self.label, int):
            return self.predicted == self.label
        return multi_label.above_half(self.probabilities) == set(self.label)


class ImageClassification(Algorithm[Truth, Answer]):
    """A ResNet with MXNet."""

    task = CLASSIFICATION
    classes = ("breed", "species")
    demo_classes = "breed"
    formats: ClassVar[tuple[str, ...]] = ("image", "recordio")
    usable = "photo"
    needs_all_classes = True
    photos_to_draw = (60, 15)
    network = "a ResNet-18"
    # ResNet-18 from scratch: 0.97 after 24 epochs, 0.93 after 16; nag learns the drawn pets more slowly.
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
    falls: ClassVar[tuple[float, ...]] = (0.6, 0.85)
    job_seconds = 10
    sheet_size = (6, 5)

    def truth(self, entry: Entry[Labels], taken: LoadedPhoto, summary: Summary) -> Truth:
        """The label of a photo, or its labels."""
        labels = tuple(sorted(map(summary.class_names.index, entry.target)))
        return labels if summary.multi_label else labels[0]

    def labels(self, truth: Truth) -> tuple[int, ...]:
        """The labels of the classes on a photo."""
        return (truth,) if isinstance(truth, int) else truth

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write the image form of one channel: photos in class folders, their list and classes.txt."""
        lists = building / f"{channel}_lst"
        lists.mkdir()
        with (lists / f"{channel}.lst").open("w", encoding="utf-8") as listing:
            for index, (path, truth) in enumerate(write_photos(building / channel, photos, summary)):
                columns = [truth] if isinstance(truth, int) else _multi_hot(truth, summary)
                listing.write("\t".join(map(str, [index, *columns, path])) + "\n")
        write_class_names(lists, summary.class_names)

    def record_label(self, truth: Truth, summary: Summary) -> float | list[int]:
        """The label as an image record has it; multi-label: a 0 or 1 for each class."""
        return float(truth) if isinstance(truth, int) else _multi_hot(truth, summary)

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """The photos of a channel in image form with their labels, in the order of its .lst."""
        listing = channels / f"{channel}_lst" / f"{channel}.lst"
        rows = (line.split("\t") for line in listing.read_text(encoding="utf-8").split("\n") if line)
        return [(channels / channel / path, _truth(labels)) for _, *labels, path in rows]

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured with ResNet-18: a part whatever an image's size, and one per 128 x 128 pixels."""
        return 0.010 + 0.027 * area(recipe)

    def answer(self, photo: Path, truth: Truth, reply: bytes) -> Answer:
        """An endpoint's reply, an array of probabilities, beside the label. Raises CommandFailed for any other."""

        def read(values: Any) -> tuple[float, ...]:
            values[max(self.labels(truth), default=0)]  # there is one for the true class
            return tuple(map(float, values))

        return Answer(photo, truth, report.read_json(reply, photo, "an array with a probability per class", read))

    def table(self, answers: Sequence[Answer], names: Sequence[str]) -> str:
        """Rows are true classes, columns predicted ones; if more classes than fit across, a line per class instead.

        Multi-label: a line per class.
        """
        if several := _several(answers):
            return multi_label.table(several, names)
        counts = Counter((answer.label, answer.predicted) for answer in answers if isinstance(answer.label, int))
        side = max(map(len, (*names, _CORNER)))
        widths = [max(len(name), 4) for name in names]
        if side + sum(widths) + 2 * len(widths) > _WIDEST_TABLE:
            return _lines(counts, names)
        rows = ["  ".join([_CORNER.ljust(side), *map(str.rjust, names, widths)])]
        for label, name in enumerate(names):
            cells = [str(counts[label, other] or ".") for other in range(len(names))]
            rows.append("  ".join([name.ljust(side), *map(str.rjust, cells, widths)]))
        return "\n".join(rows)

    def last_line(self, answers: Sequence[Answer]) -> str:
        """`accuracy 0.97 (58 of 60)`, or `F1 0.81 (labels of 60 photos)`."""
        if several := _several(answers):
            return multi_label.last_line(several)
        right = sum(answer.right for answer in answers)
        return f"accuracy {right / len(answers):.2f} ({right} of {len(answers)})"

    def reply_lines(self, reply: Mapping[str, Any]) -> list[str] | None:
        """The predicted class and its probability, of a reply in the verbose form; None for another algorithm's."""
        if "predicted_label" not in reply:
            return None
        return [f"{reply['predicted_label']}  {max(reply['probabilities']):.3f}"]

    def card(self, answer: Answer, names: Sequence[str]) -> Image.Image:
        """One photo with its predicted class and whether that is right: a green bar, or a red one."""
        right = answer.right
        card = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL + _CAPTION), (226, 243, 229) if right else (252, 224, 222))
        photo = preprocess.decode(answer.photo.read_bytes(), short_side=_THUMBNAIL)
        card.paste(ImageOps.fit(photo, (_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR))
        pen = ImageDraw.Draw(card)
        pen.rectangle((0, _THUMBNAIL, _THUMBNAIL, _THUMBNAIL + 3), fill=(46, 145, 72) if right else (204, 60, 52))
        predicted = f"{names[answer.predicted]} {answer.probabilities[answer.predicted]:.2f}"
        if not isinstance(answer.label, int):
            found = sorted(multi_label.above_half(answer.probabilities))
            predicted = ", ".join(f"{names[label]} {answer.probabilities[label]:.2f}" for label in found) or "none"
        pen.text((5, _THUMBNAIL + 5), predicted, fill=(30, 30, 30), font=ImageFont.load_default(13))
        true = ", ".join(names[label] for label in self.labels(answer.label)) or "none"
        truth = "right" if right else f"is {true}"
        pen.text((5, _THUMBNAIL + 21), truth, fill=(90, 90, 90), font=ImageFont.load_default(12))
        return card


ALGORITHM = ImageClassification()


def area(recipe: Hyperparameters) -> float:
    """The size of the network's input, of which 128 x 128 pixels are 1."""
    _, height, width = map(int, str(recipe["image_shape"]).split(","))
    return height * width / 128**2


def write_photos(folder: Path, photos: Iterable[Photo[Truth]], summary: Summary) -> Iterator[tuple[str, Truth]]:
    """Write photos into a folder for each class; yields the path below `folder` and the label of each.

    Multi-label photos go into `folder` itself.
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
    """A 0 or 1 for each class."""
    return [int(label in labels) for label in range(len(summary.class_names))]


def _truth(labels: Sequence[str]) -> Truth:
    """What is true of a photo by the labels of its line in a .lst."""
    return int(labels[0]) if len(labels) == 1 else tuple(label for label, value in enumerate(labels) if int(value))


def _several(answers: Sequence[Answer]) -> list[multi_label.Answer]:
    """The labels and probabilities of multi-label answers; nothing of others."""
    return [(set(one.label), one.probabilities) for one in answers if not isinstance(one.label, int)]


def _lines(counts: Counter[tuple[int, int]], names: Sequence[str]) -> str:
    """`Abyssinian   61 of 70 right, taken for Bengal 6, Egyptian_Mau 3`, a line per class."""
    side = max(map(len, names))
    rows = []
    for label, name in enumerate(names):
        row = {other: count for (true, other), count in counts.items() if true == label}
        wrong = sorted(((count, names[other]) for other, count in row.items() if other != label), reverse=True)
        taken = "".join([", taken for ", ", ".join(f"{other} {count}" for count, other in wrong[:3])]) if wrong else ""
        rows.append(f"{name:<{side}}  {row.get(label, 0):>4} of {sum(row.values()):>4} right{taken}")
    return "\n".join(rows)
