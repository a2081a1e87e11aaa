"""Image classification: its channels, the recipe of the demo, and how an endpoint's answers are judged.

Channels in image form: train/CLASS/NAME.jpg, train_lst/train.lst (index, label, path below train/) and classes.txt, the
same for validation. What is true of a photo is its label; what an endpoint says of it, a probability per class.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from local.algorithms import recipes, report
from local.datasets import pets as official
from local.datasets.channels import Photo, Summary, Taken, write_class_names
from local.datasets.pets import Pet, Pets
from serve import preprocess

CLASSES: tuple[str, ...] = ("breed", "species")
DEMO = "breed"
FORMATS: tuple[str, ...] = ("image", "recordio")
SPLITS: tuple[str, ...] = ("official", "random")
UNUSED = "photos that the split does not name, not used"
USABLE = "photo"
DRAWN = (60, 15)
EPOCHS = (24, 40)
NETWORK = "a ResNet-18"
ACCEPT = "application/json"
CURL = "curl -H 'Accept: application/json;verbose'"

# ResNet-18 from scratch. Drawn: 0.97 after 24 epochs, 0.93 after 16; nag learns the drawn pets more slowly.
_DRAWN: recipes.Hyperparameters = {
    "num_layers": 18,
    "image_shape": "3,64,64",
    "resize": 72,
    "epochs": EPOCHS[0],
    "mini_batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 0.002,
    "augmentation_type": "crop",
}
_REAL: recipes.Hyperparameters = {
    "num_layers": 18,
    "image_shape": "3,128,128",
    "resize": 144,
    "epochs": EPOCHS[1],
    "mini_batch_size": 32,
    "optimizer": "nag",
    "learning_rate": 0.05,
    "weight_decay": 0.0005,
    "augmentation_type": "crop_color_transform",
}
# Measured with ResNet-18: seconds of one core per image of a training step, whatever its size and per 128 x 128 pixels,
# and seconds of a job without its epochs (start, reading, export, checks).
_IMAGE_SECONDS, _AREA_SECONDS, _JOB_SECONDS = 0.010, 0.027, 10

_WIDEST_TABLE = 110
_CORNER = "true, predicted as"
_THUMBNAIL = 150
_CAPTION = 38
_COLUMNS = 6
_ROWS = 5


@dataclass(frozen=True)
class Answer:
    """A photo, its label and the endpoint's probabilities, one per class."""

    photo: Path
    label: int
    probabilities: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """The label of the highest probability."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)


def candidates(pets: Pets) -> list[Pet]:
    """All photos whose breed the lists know, listed or not."""
    return official.all_photos(pets)


def class_names(photos: Iterable[Pet], classes: str) -> list[str]:
    """The breeds, or the species, of the photos."""
    return official.class_names(photos, classes)


def truth(pets: Pets, pet: Pet, taken: Taken, summary: Summary) -> int:
    """The label of a photo."""
    return summary.class_names.index(official.class_of(pet, summary.classes))


def labels(truth: int) -> tuple[int]:
    """A photo is of one class."""
    return (truth,)


def write_images(building: Path, channel: str, photos: Iterable[Photo[int]], summary: Summary) -> None:
    """Write the image form of one channel: photos in class folders, their list and classes.txt."""
    names = summary.class_names
    lists = building / f"{channel}_lst"
    lists.mkdir()
    for folder in names:
        (building / channel / folder).mkdir()
    with (lists / f"{channel}.lst").open("w", encoding="utf-8") as listing:
        for index, photo in enumerate(photos):
            relative = f"{names[photo.truth]}/{photo.pet.name}.jpg"
            (building / channel / relative).write_bytes(photo.data)
            listing.write(f"{index}\t{photo.truth}\t{relative}\n")
    write_class_names(lists, names)


def record_label(truth: int) -> float:
    """The label as an image record has it."""
    return float(truth)


def photos(channels: Path, channel: str) -> list[tuple[Path, int]]:
    """The photos of a channel in image form with their labels, in the order of its .lst."""
    listing = channels / f"{channel}_lst" / f"{channel}.lst"
    rows = (line.split("\t") for line in listing.read_text(encoding="utf-8").splitlines())
    return [(channels / channel / path, int(label)) for _, label, path in rows]


def recipe(drawn: bool, epochs: int | None, num_classes: int, num_training_samples: int) -> recipes.Hyperparameters:
    """Hyperparameters of image classification; `epochs` None means as many as were tried (24 drawn, 40 real)."""
    return recipes.complete(_DRAWN if drawn else _REAL, epochs, num_classes, num_training_samples)


def forecast(recipe: recipes.Hyperparameters, cores: int) -> float:
    """Seconds that a job of the recipe takes on `cores` when nothing else runs, roughly."""
    _, height, width = map(int, str(recipe["image_shape"]).split(","))
    images = int(recipe["epochs"]) * int(recipe["num_training_samples"])
    return _JOB_SECONDS + images * (_IMAGE_SECONDS + _AREA_SECONDS * height * width / 128**2) / cores


def answer(photo: Path, truth: int, reply: bytes) -> Answer:
    """An endpoint's reply, an array of probabilities, beside the label. Raises CommandFailed for any other reply."""

    def read(said: Any) -> tuple[float, ...]:
        said[truth]  # there is one for the true class
        return tuple(map(float, said))

    return Answer(photo, truth, report.read_json(reply, photo, "an array with a probability per class", read))


def table(answers: Sequence[Answer], names: Sequence[str]) -> str:
    """Rows are true classes, columns predicted ones; with more classes than fit across, a line per class instead."""
    counts = Counter((answer.label, answer.predicted) for answer in answers)
    side = max(map(len, (*names, _CORNER)))
    widths = [max(len(name), 4) for name in names]
    if side + sum(widths) + 2 * len(widths) > _WIDEST_TABLE:
        return _lines(counts, names)
    rows = ["  ".join([_CORNER.ljust(side), *map(str.rjust, names, widths)])]
    for label, name in enumerate(names):
        cells = [str(counts[label, other] or ".") for other in range(len(names))]
        rows.append("  ".join([name.ljust(side), *map(str.rjust, cells, widths)]))
    return "\n".join(rows)


def sheet(answers: Sequence[Answer], names: Sequence[str], path: Path) -> None:
    """Write a PNG of up to 30 photos, evenly chosen, each with its predicted class and whether that is right."""
    cards = [_card(answer, names) for answer in report.evenly(answers, _COLUMNS * _ROWS)]
    report.write_page(cards, _COLUMNS, path)


def last_line(answers: Sequence[Answer]) -> str:
    """`accuracy 0.97 (58 of 60)`."""
    right = sum(answer.predicted == answer.label for answer in answers)
    return f"accuracy {right / len(answers):.2f} ({right} of {len(answers)})"


def told(reply: Mapping[str, Any]) -> list[str] | None:
    """The predicted class and its probability, of a reply in the verbose form; None for another algorithm's."""
    if "predicted_label" not in reply:
        return None
    return [f"{reply['predicted_label']}  {max(reply['probabilities']):.3f}"]


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


def _card(answer: Answer, names: Sequence[str]) -> Image.Image:
    """One photo with its caption: a green bar when right, a red one when wrong."""
    right = answer.predicted == answer.label
    card = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL + _CAPTION), (226, 243, 229) if right else (252, 224, 222))
    photo = preprocess.decode(answer.photo.read_bytes(), short_side=_THUMBNAIL)
    card.paste(ImageOps.fit(photo, (_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR))
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, _THUMBNAIL, _THUMBNAIL, _THUMBNAIL + 3), fill=(46, 145, 72) if right else (204, 60, 52))
    said = f"{names[answer.predicted]} {answer.probabilities[answer.predicted]:.2f}"
    pen.text((5, _THUMBNAIL + 5), said, fill=(30, 30, 30), font=ImageFont.load_default(13))
    truth = "right" if right else f"is {names[answer.label]}"
    pen.text((5, _THUMBNAIL + 21), truth, fill=(90, 90, 90), font=ImageFont.load_default(12))
    return card
