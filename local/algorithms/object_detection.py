"""Object detection: its channels, the recipe of the demo, and how an endpoint's answers are judged.

Channels in image form: train/NAME.jpg and train_annotation/NAME.json, the same for validation; the JSON is the
built-in's, boxes in pixels of the upright photo. What is true of a photo is the boxes of its XML file; what an endpoint
answers, detections with a class and a score.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from local.algorithms import drawing, pages, report
from local.algorithms.algorithm import Algorithm, Hyperparameters
from local.datasets.channels import LoadedPhoto, Photo, Summary, write_pairs
from local.datasets.dataset import DETECTION, FRACTIONS, UNKNOWN, Annotation, Edges, Entry
from local.errors import UserError
from serve.words import plural
from train.object_detection import average_precision
from train.object_detection.boxes import to_upright

SURE = 0.5
"""Score above which a detection is shown and counted in the table; the mean average precision takes them all."""

_CELL = 240
_TRUE = (20, 235, 110)
_PREDICTED = (255, 0, 150)

Corners = tuple[int, int, int, int]
LabelledBox = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Truth:
    """Width and height of an upright photo in pixels, and its boxes: (label, left, top, right, bottom) in pixels."""

    size: tuple[int, int]
    boxes: tuple[LabelledBox, ...]


@dataclass(frozen=True)
class Answer:
    """A photo, what is true of it, and the endpoint's detections.

    `detections` is float64 (d, 6): [class, score, left, top, right, bottom], in pixels of the upright photo.
    """

    photo: Path
    truth: Truth
    detections: NDArray[np.float64]

    @property
    def boxes(self) -> NDArray[np.float64]:
        """The true boxes as float64 (n, 5): [class, left, top, right, bottom] in pixels."""
        return np.array(self.truth.boxes, np.float64).reshape(-1, 5)

    @property
    def shown(self) -> NDArray[np.float64]:
        """The detections with a score above SURE, at least the best one, by falling score; (s, 6)."""
        ordered = self.detections[np.argsort(-self.detections[:, 1], kind="stable")]
        return ordered[: max(1, int((ordered[:, 1] > SURE).sum()))]


class ObjectDetection(Algorithm[Truth, Answer]):
    """An SSD with MXNet."""

    task = DETECTION
    classes = ("species", "breed")
    demo_classes = "species"
    formats = ("image", "recordio")
    usable = "photo with a box"
    photos_to_draw = (60, 1)
    network = "an SSD on a ResNet-18"
    # From scratch. Drawn: batches of 8 learn more in a minute than batches of 16, and one late fall of the rate more
    # than two.
    recipe_for_drawn: ClassVar[Hyperparameters] = {
        "base_network": "resnet-18",
        "use_pretrained_model": 0,
        "image_shape": 128,
        "epochs": 36,
        "mini_batch_size": 8,
        "optimizer": "adam",
        "learning_rate": 0.001,
    }
    recipe_for_photos: ClassVar[Hyperparameters] = {
        **recipe_for_drawn,
        "image_shape": 300,
        "epochs": 60,
        "mini_batch_size": 16,
    }
    job_seconds = 20
    sheet_size = (4, 5)

    def truth(self, entry: Entry[Annotation], taken: LoadedPhoto, summary: Summary) -> Truth:
        """The boxes of a photo, on the upright photo.

        The annotation says which pixels its boxes are of: those of the photo as it is stored are turned with it. Boxes
        are cut at the photo's edges; what is left without an area is dropped; both are noted in `summary`.
        Raises UserError for an annotation that fits neither or has an unknown class.
        """
        annotation, stored = entry.target, taken.frame[:2]
        on, is_stored = annotation.size, annotation.size == stored
        if on in (FRACTIONS, UNKNOWN):
            on, is_stored = (taken.frame.upright, False) if annotation.upright else (stored, True)
        elif on not in (stored, taken.frame.upright):
            (wide, high), (width, height) = on, taken.frame.upright
            raise UserError(
                f"{annotation.source} is about a photo of {wide} x {high} pixels and {entry.path.name} has "
                f"{width} x {height}: annotate the photo that is there"
            )
        measured = FRACTIONS if annotation.size == FRACTIONS else on
        boxes: list[LabelledBox] = []
        for thing in annotation.objects:
            if thing.name not in summary.class_names:
                names = ", ".join(summary.class_names)
                raise UserError(f"{annotation.source} names a {thing.name[:40]}: the classes are {names}")
            whole = _pixels(thing.box, measured, on)
            box, words = _inside(whole, on), f"{annotation.source} {_words(whole)}"
            if box is None:
                summary.note("boxes without an area inside their photo, dropped", words)
                continue
            if box != whole:
                summary.note("boxes cut at the edge of their photo", words)
            boxes.append((summary.class_names.index(thing.name), *box))
        return Truth(taken.frame.upright, _turned(boxes, taken) if is_stored else tuple(boxes))

    def labels(self, truth: Truth) -> set[int]:
        """The labels of the boxes on a photo."""
        return {label for label, *_ in truth.boxes}

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write the image form of one channel: photos, and beside them a JSON file for each with the same base name."""

        def annotation(photo: Photo[Truth]) -> bytes:
            content = _annotation(f"{photo.entry.name}.jpg", photo.truth, summary.class_names)
            return (json.dumps(content) + "\n").encode()

        write_pairs(building, channel, photos, ".json", annotation)

    def record_label(self, truth: Truth, summary: Summary) -> list[float]:
        """The label of an image record: [2, 5, class, xmin, ymin, xmax, ymax, class, ...], boxes as fractions."""
        width, height = truth.size
        vector = [2.0, 5.0]
        for label, left, top, right, bottom in truth.boxes:
            vector += [label, left / width, top / height, right / width, bottom / height]
        return vector

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """The photos of a channel in image form with their boxes, by name."""
        found = []
        for file in sorted((channels / f"{channel}_annotation").glob("*.json")):
            content = json.loads(file.read_text(encoding="utf-8"))
            size = content["image_size"][0]
            boxes = tuple(
                (box["class_id"], box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"])
                for box in content["annotations"]
            )
            found.append((channels / channel / content["file"], Truth((size["width"], size["height"]), boxes)))
        return found

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured: a part whatever an image's size, and one per 128 x 128 pixels. 12 to 17 s an epoch on 2 cores."""
        return 0.025 + 0.065 * int(recipe["image_shape"]) ** 2 / 128**2

    def answer(self, photo: Path, truth: Truth, reply: bytes) -> Answer:
        """An endpoint's reply, {"prediction": [[class, score, xmin, ymin, xmax, ymax], ...]} in fractions of the photo.

        Raises CommandFailed for any other reply.
        """
        width, height = truth.size

        def read(content: Any) -> NDArray[np.float64]:
            rows = content["prediction"]
            if not all(len(row) == 6 for row in rows):
                raise ValueError("six numbers a detection")
            return np.array(rows, np.float64).reshape(-1, 6) * (1, 1, width, height, width, height)

        expected = 'a list of [class, score, xmin, ymin, xmax, ymax] as "prediction"'
        return Answer(photo, truth, report.read_json(reply, photo, expected, read))

    def table(self, answers: Sequence[Answer], names: Sequence[str]) -> str:
        """A line per class: average precision, true boxes, and how many detections above SURE are right and wrong."""
        side = max(map(len, (*names, "class")))
        rows = [f"{'class':<{side}}    AP  true boxes  found  false  (of detections with a score above {SURE})"]
        for name, one in zip(names, _matches(answers, len(names)), strict=True):
            sure = one.scores > SURE
            precision = f"{average_precision.voc07(one):.2f}" if one.total else "-"
            found, false = int((sure & one.hits).sum()), int((sure & ~one.hits).sum())
            rows.append(f"{name:<{side}}  {precision:>4}  {one.total:>10}  {found:>5}  {false:>5}")
        return "\n".join(rows)

    def last_line(self, answers: Sequence[Answer]) -> str:
        """`mAP 0.93 (VOC07, 60 photos)`: the mean over the classes that occur, at an overlap of 0.5."""
        classes = 1 + max(int(rows[:, 0].max(initial=-1)) for one in answers for rows in (one.boxes, one.detections))
        value = average_precision.mean(_matches(answers, classes))
        return f"mAP {value:.2f} (VOC07, {plural(len(answers), 'photo')})"

    def reply_lines(self, reply: Mapping[str, Any]) -> list[str] | None:
        """The detections above SURE, at least the best one: class, score, and the box in fractions of the photo.

        Of a reply in the verbose form; None for another algorithm's.
        """
        found = reply.get("prediction")
        if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
            return None
        rows = sorted(found, key=lambda row: -row["score"])
        shown = rows[: max(1, sum(row["score"] > SURE for row in rows))]
        return [f"{row['label']}  {row['score']:.3f}  {_place(row['box'])}" for row in shown] or ["nothing found"]

    def card(self, answer: Answer, names: Sequence[str]) -> Image.Image:
        """One whole photo in a square, with its boxes; predicted ones on top, the best of them last."""
        photo, (x, y) = pages.whole(answer.photo.read_bytes(), _CELL)
        card = Image.new("RGB", (_CELL, _CELL), pages.GREY)
        card.paste(photo, (x, y))
        pen = ImageDraw.Draw(card)
        factors = np.divide(photo.size * 2, answer.truth.size * 2)
        for _, *box in answer.boxes:
            drawing.outline(pen, drawing.corners(box * factors, x, y), _TRUE)
        predicted = [
            (f"{names[int(label)]} {score:.2f}", drawing.corners(box * factors, x, y))
            for label, score, *box in answer.shown[::-1]
        ]
        for _, corners in predicted:
            drawing.outline(pen, corners, _PREDICTED)
        for words, corners in predicted:
            drawing.tag(pen, corners, words, _PREDICTED, _CELL)
        return card

    def legend(self, names: Sequence[str]) -> Image.Image:
        """One line that says what the colours mean."""
        head = Image.new("RGB", (pages.width(self.sheet_size[0], _CELL), 22), "white")
        pen = ImageDraw.Draw(head)
        at = 0
        for colour, words in (
            (_TRUE, "true box"),
            (_PREDICTED, f"predicted box with class and score: those above {SURE}, at least the best one"),
        ):
            drawing.outline(pen, (at + 1, 4, at + 22, 17), colour)
            pen.text((at + 29, 2), words, fill=pages.INK, font=ImageFont.load_default(14))
            at += 60 + round(pen.textlength(words, font=ImageFont.load_default(14)))
        return head


ALGORITHM = ObjectDetection()


def _annotation(file: str, truth: Truth, names: Sequence[str]) -> dict[str, Any]:
    """The built-in's JSON about one photo."""
    width, height = truth.size
    return {
        "file": file,
        "image_size": [{"width": width, "height": height, "depth": 3}],
        "annotations": [
            {"class_id": label, "left": left, "top": top, "width": right - left, "height": bottom - top}
            for label, left, top, right, bottom in truth.boxes
        ],
        "categories": [{"class_id": label, "name": name} for label, name in enumerate(names)],
    }


def _pixels(box: Edges, size: tuple[int, int], photo: tuple[int, int]) -> Corners:
    """A box that is measured on `size`, in whole pixels of a photo."""
    left, top, right, bottom = (
        round(edge * whole / measured) for edge, measured, whole in zip(box, size * 2, photo * 2, strict=True)
    )
    return left, top, right, bottom


def _inside(box: Corners, size: tuple[int, int]) -> Corners | None:
    """Clip a box to a photo of `size`; None when nothing with an area is left."""
    left, top, right, bottom = box
    cut = (max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1]))
    return cut if cut[0] < cut[2] and cut[1] < cut[3] else None


def _turned(boxes: Sequence[LabelledBox], taken: LoadedPhoto) -> tuple[LabelledBox, ...]:
    """Boxes of the stored photo, on the upright one."""
    shares = np.array(boxes, np.float64).reshape(-1, 5) / (1, *taken.frame[:2], *taken.frame[:2])
    rows = to_upright(shares, taken.frame.orientation) * (1, *taken.frame.upright, *taken.frame.upright)
    return tuple(tuple(row) for row in np.rint(rows).astype(int).tolist())


def _words(box: Corners) -> str:
    return " ".join(map(str, box))


def _place(box: Mapping[str, float]) -> str:
    return " ".join(f"{side} {box[side]:.3f}" for side in ("left", "top", "width", "height"))


def _matches(answers: Sequence[Answer], classes: int) -> list[average_precision.Matches]:
    return average_precision.match([one.boxes for one in answers], [one.detections for one in answers], classes)
