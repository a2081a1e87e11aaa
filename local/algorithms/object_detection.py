"""Object detection: its channels, the recipe of the demo, and the evaluation of predictions.

Channels in image format: train/NAME.jpg and train_annotation/NAME.json, the same for validation. The JSON format is the
built-in algorithm's, with boxes in pixels of the upright photo. The ground truth of a photo is its boxes; the
prediction is a list of detections with a class and a score.
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

MIN_SCORE = 0.5
"""Detections with a higher score are shown and counted in the table; the mean average precision uses all of them."""

_CELL = 240
_TRUE = (20, 235, 110)
_PREDICTED = (255, 0, 150)

Corners = tuple[int, int, int, int]
LabelledBox = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Truth:
    """The width and height of an upright photo, and its boxes (label, left, top, right, bottom), all in pixels."""

    size: tuple[int, int]
    boxes: tuple[LabelledBox, ...]


@dataclass(frozen=True)
class Prediction:
    """A photo, its ground truth, and the detections.

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
        """The detections with a score above MIN_SCORE, or at least the best one, highest score first; (s, 6)."""
        ordered = self.detections[np.argsort(-self.detections[:, 1], kind="stable")]
        return ordered[: max(1, int((ordered[:, 1] > MIN_SCORE).sum()))]


class ObjectDetection(Algorithm[Truth, Prediction]):
    """An SSD with MXNet."""

    task = DETECTION
    classes = ("species", "breed")
    demo_classes = "species"
    formats = ("image", "recordio")
    sample_phrase = "photo with a box"
    photos_to_draw = (60, 1)
    network = "an SSD with a ResNet-18 backbone"
    # From scratch. On the drawn data set, batches of 8 learn faster than batches of 16, and one late drop of the
    # learning rate gives better results than two.
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

    def truth(self, entry: Entry[Annotation], photo: LoadedPhoto, summary: Summary) -> Truth:
        """Return the boxes on the upright photo.

        The annotation's size says whether its boxes refer to the stored photo or to the upright one; boxes on the
        stored photo are rotated with it. Boxes are clipped to the photo, and boxes without an area are dropped; both
        are noted in `summary`. Raises UserError if the size matches neither or a class is unknown.
        """
        annotation, stored = entry.target, photo.frame[:2]
        size, is_stored = annotation.size, annotation.size == stored
        if size in (FRACTIONS, UNKNOWN):
            size, is_stored = (photo.frame.upright, False) if annotation.upright else (stored, True)
        elif size not in (stored, photo.frame.upright):
            (expected_width, expected_height), (width, height) = size, photo.frame.upright
            raise UserError(
                f"{annotation.source} is for a photo of {expected_width} x {expected_height} pixels, but "
                f"{entry.path.name} has {width} x {height}: annotate this photo"
            )
        measured = FRACTIONS if annotation.size == FRACTIONS else size
        boxes: list[LabelledBox] = []
        for item in annotation.objects:
            if item.name not in summary.class_names:
                names = ", ".join(summary.class_names)
                raise UserError(
                    f"{annotation.source} has an object of class {item.name[:40]}, but the classes are {names}"
                )
            unclipped = _pixels(item.box, measured, size)
            box = _clip(unclipped, size)
            place = f"{annotation.source} {' '.join(map(str, unclipped))}"
            if box is None:
                summary.note("boxes outside their photo or without an area, dropped", place)
                continue
            if box != unclipped:
                summary.note("boxes clipped to their photo", place)
            boxes.append((summary.class_names.index(item.name), *box))
        return Truth(photo.frame.upright, _rotate(boxes, photo) if is_stored else tuple(boxes))

    def labels(self, truth: Truth) -> set[int]:
        """Return the labels of the boxes in a photo."""
        return {label for label, *_ in truth.boxes}

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write a channel in image format: photos, and for each a JSON file with the same base name."""

        def annotation(photo: Photo[Truth]) -> bytes:
            content = _annotation(f"{photo.entry.name}.jpg", photo.truth, summary.class_names)
            return (json.dumps(content) + "\n").encode()

        write_pairs(building, channel, photos, ".json", annotation)

    def record_label(self, truth: Truth, summary: Summary) -> list[float]:
        """Return a record's label: [2, 5, class, xmin, ymin, xmax, ymax, class, ...], with boxes as fractions."""
        width, height = truth.size
        vector = [2.0, 5.0]
        for label, left, top, right, bottom in truth.boxes:
            vector += [label, left / width, top / height, right / width, bottom / height]
        return vector

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """Return the photos of a channel in image format with their boxes, ordered by name."""
        photos = []
        for file in sorted((channels / f"{channel}_annotation").glob("*.json")):
            content = json.loads(file.read_text(encoding="utf-8"))
            size = content["image_size"][0]
            boxes = tuple(
                (box["class_id"], box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"])
                for box in content["annotations"]
            )
            photos.append((channels / channel / content["file"], Truth((size["width"], size["height"]), boxes)))
        return photos

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured: a constant part, plus a part per 128 x 128 pixels. An epoch takes 12 to 17 s on 2 cores."""
        return 0.025 + 0.065 * int(recipe["image_shape"]) ** 2 / 128**2

    def parse_response(self, photo: Path, truth: Truth, response: bytes) -> Prediction:
        """Parse {"prediction": [[class, score, xmin, ymin, xmax, ymax], ...]}, in fractions of the photo.

        Raises CommandFailed for any other response.
        """
        width, height = truth.size

        def parse(content: Any) -> NDArray[np.float64]:
            rows = content["prediction"]
            if not all(len(row) == 6 for row in rows):
                raise ValueError("a detection has six numbers")
            return np.array(rows, np.float64).reshape(-1, 6) * (1, 1, width, height, width, height)

        expected = 'a list of [class, score, xmin, ymin, xmax, ymax] as "prediction"'
        return Prediction(photo, truth, report.parse_json(response, photo, expected, parse))

    def table(self, predictions: Sequence[Prediction], names: Sequence[str]) -> str:
        """Return a line per class: average precision, true boxes, and right and wrong detections above MIN_SCORE."""
        name_width = max(map(len, (*names, "class")))
        note = f"(of detections with a score above {MIN_SCORE})"
        rows = [f"{'class':<{name_width}}    AP  true boxes  found  false  {note}"]
        for name, matches in zip(names, _matches(predictions, len(names)), strict=True):
            confident = matches.scores > MIN_SCORE
            precision = f"{average_precision.voc07(matches):.2f}" if matches.total else "-"
            found, false = int((confident & matches.hits).sum()), int((confident & ~matches.hits).sum())
            rows.append(f"{name:<{name_width}}  {precision:>4}  {matches.total:>10}  {found:>5}  {false:>5}")
        return "\n".join(rows)

    def summary_line(self, predictions: Sequence[Prediction]) -> str:
        """Return `mAP 0.93 (VOC07, 60 photos)`: the mean over the classes that occur, at an IoU of 0.5."""
        labels = [rows[:, 0].max(initial=-1) for item in predictions for rows in (item.boxes, item.detections)]
        value = average_precision.mean(_matches(predictions, 1 + int(max(labels))))
        return f"mAP {value:.2f} (VOC07, {plural(len(predictions), 'photo')})"

    def response_lines(self, response: Mapping[str, Any]) -> list[str] | None:
        """Return the detections above MIN_SCORE, or at least the best one: class, score, and box as fractions.

        Returns None if the response is another algorithm's.
        """
        detections = response.get("prediction")
        if not isinstance(detections, list) or not all(isinstance(row, Mapping) for row in detections):
            return None
        rows = sorted(detections, key=lambda row: -row["score"])
        shown = rows[: max(1, sum(row["score"] > MIN_SCORE for row in rows))]
        return [f"{row['label']}  {row['score']:.3f}  {_format_box(row['box'])}" for row in shown] or ["nothing found"]

    def card(self, prediction: Prediction, names: Sequence[str]) -> Image.Image:
        """Draw a photo in a square with its true boxes, and the predicted ones on top, the best of them last."""
        photo, (x, y) = pages.fit_in_square(prediction.photo.read_bytes(), _CELL)
        card = Image.new("RGB", (_CELL, _CELL), pages.GREY)
        card.paste(photo, (x, y))
        pen = ImageDraw.Draw(card)
        factors = np.divide(photo.size * 2, prediction.truth.size * 2)
        for _, *box in prediction.boxes:
            drawing.outline(pen, drawing.corners(box * factors, x, y), _TRUE)
        predicted = [
            (f"{names[int(label)]} {score:.2f}", drawing.corners(box * factors, x, y))
            for label, score, *box in prediction.shown[::-1]
        ]
        for _, corners in predicted:
            drawing.outline(pen, corners, _PREDICTED)
        for text, corners in predicted:
            drawing.tag(pen, corners, text, _PREDICTED, _CELL)
        return card

    def legend(self, names: Sequence[str]) -> Image.Image:
        """Draw one line that explains the colours."""
        head = Image.new("RGB", (pages.width(self.sheet_size[0], _CELL), 22), "white")
        pen = ImageDraw.Draw(head)
        x = 0
        for colour, text in (
            (_TRUE, "true box"),
            (_PREDICTED, f"predicted box with class and score, if above {MIN_SCORE} or the best one"),
        ):
            drawing.outline(pen, (x + 1, 4, x + 22, 17), colour)
            pen.text((x + 29, 2), text, fill=pages.INK, font=ImageFont.load_default(14))
            x += 60 + round(pen.textlength(text, font=ImageFont.load_default(14)))
        return head


ALGORITHM = ObjectDetection()


def _annotation(file: str, truth: Truth, names: Sequence[str]) -> dict[str, Any]:
    """Return the built-in algorithm's JSON annotation of one photo."""
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
    """Scale a box from an image of `size` to a photo of the size `photo`, and round it to whole pixels."""
    left, top, right, bottom = (
        round(edge * side / measured) for edge, measured, side in zip(box, size * 2, photo * 2, strict=True)
    )
    return left, top, right, bottom


def _clip(box: Corners, size: tuple[int, int]) -> Corners | None:
    """Clip a box to a photo of `size`; return None if no area is left."""
    left, top, right, bottom = box
    clipped = (max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1]))
    return clipped if clipped[0] < clipped[2] and clipped[1] < clipped[3] else None


def _rotate(boxes: Sequence[LabelledBox], photo: LoadedPhoto) -> tuple[LabelledBox, ...]:
    """Move boxes from the stored photo to the upright one."""
    shares = np.array(boxes, np.float64).reshape(-1, 5) / (1, *photo.frame[:2], *photo.frame[:2])
    rows = to_upright(shares, photo.frame.orientation) * (1, *photo.frame.upright, *photo.frame.upright)
    return tuple(tuple(row) for row in np.rint(rows).astype(int).tolist())


def _format_box(box: Mapping[str, float]) -> str:
    return " ".join(f"{side} {box[side]:.3f}" for side in ("left", "top", "width", "height"))


def _matches(predictions: Sequence[Prediction], classes: int) -> list[average_precision.Matches]:
    return average_precision.match(
        [prediction.boxes for prediction in predictions], [prediction.detections for prediction in predictions], classes
    )
