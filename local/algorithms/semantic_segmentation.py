"""Semantic segmentation: its channels, the recipe of the demo, and the evaluation of predicted masks.

Channels: train/NAME.jpg and train_annotation/NAME.png, the same for validation; the pixel values of a mask are class
ids, or are mapped to class ids by the label_map channel. The ground truth of a photo is its mask; the prediction is a
mask of the photo's size.
"""

import base64
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
from local.datasets.channels import LoadedPhoto, Photo, Summary, read_class_names, write_class_names, write_pairs
from local.datasets.dataset import SEGMENTATION, Entry
from local.datasets.masks.mask import Mask
from local.errors import UserError
from serve.tasks.masks import PALETTE, png
from serve.words import plural
from train.semantic_segmentation import masks, metrics

_TILE = 200
_GAP = 4
_CARD = 3 * _TILE + 2 * _GAP


@dataclass(frozen=True)
class Truth:
    """A mask as a PNG, with the size of the upright photo, and the pixel value of each class id."""

    png: bytes
    pixels: tuple[int, ...]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Class ids as uint8 (height, width); masks.IGNORE marks pixels without a class."""
        ids = np.full(256, masks.IGNORE, np.uint8)
        ids[list(self.pixels)] = range(len(self.pixels))
        mask: NDArray[np.uint8] = ids[masks.decode(self.png).pixels]
        return mask


@dataclass(frozen=True)
class Prediction:
    """A photo, its ground truth, and the predicted mask as a PNG of class ids.

    `counts` is the confusion matrix of the photo's pixels without the ignored ones, int64 (classes, classes): rows are
    true classes, columns are predicted ones.
    """

    photo: Path
    truth: Truth
    png: bytes
    counts: NDArray[np.int64]


class SemanticSegmentation(Algorithm[Truth, Prediction]):
    """An FCN with MXNet."""

    task = SEGMENTATION
    classes = ("trimap", "pet")
    demo_classes = "pet"
    sample_phrase = "photo with pixels"
    photos_to_draw = (320, 10)
    network = "an FCN"
    recipe_for_photos: ClassVar[Hyperparameters] = {
        "backbone": "resnet-50",
        "algorithm": "fcn",
        "use_pretrained_model": "False",
        "base_size": 128,
        "crop_size": 128,
        "epochs": 20,
        "mini_batch_size": 8,
        "validation_mini_batch_size": 1,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "lr_scheduler": "poly",
    }
    # From scratch. On the drawn data set, crops of 80 let the network see more photos in the same time, and predictions
    # are best at a larger size than in training (docs/semantic-segmentation.md, inference_size).
    recipe_for_drawn: ClassVar[Hyperparameters] = {
        **recipe_for_photos,
        "backbone": "resnet-18",
        "base_size": 80,
        "crop_size": 80,
        "inference_size": 128,
        "epochs": 11,
        "learning_rate": 0.0015,
        "lr_scheduler": "cosine",
    }
    lr_drops = ()
    job_seconds = 25
    accept = "image/png"
    curl = "curl --output mask.png"
    sheet_size = (2, 10)

    def truth(self, entry: Entry[Mask], photo: LoadedPhoto, summary: Summary) -> Truth:
        """Return the mask of the upright photo.

        A mask with the size of the stored photo is rotated with it; a mask that fits only the upright photo is used
        as is. A file that needs no change is copied byte for byte. Raises UserError if the mask cannot be read
        or its size matches neither.
        """
        source, mask = entry.target.source, entry.target.read()
        upright = masks.place(mask.pixels, photo.frame)
        if upright is None:
            (mask_height, mask_width), (width, height) = mask.pixels.shape, photo.frame.upright
            raise UserError(
                f"{source} has {mask_width} x {mask_height} pixels, but {entry.path.name} has {width} x {height}: make "
                "the mask from this photo"
            )
        if mask.repaired:
            summary.note("masks saved as colour pictures, converted to one channel", source)
        unchanged = mask.png if np.array_equal(upright, mask.pixels) else None
        return Truth(unchanged or png(upright), tuple(summary.pixels) or tuple(range(len(summary.class_names))))

    def labels(self, truth: Truth) -> set[int]:
        """Return the labels of the classes that have pixels in a mask."""
        return set(np.unique(truth.mask).tolist()) - {masks.IGNORE}

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write a channel: photos, and for each a mask with the same base name.

        The label_map channel is written if the pixel values are not class ids. The class names are written next to the
        training masks.
        """
        annotations = write_pairs(building, channel, photos, ".png", lambda photo: photo.truth.png)
        if channel == "train":
            write_class_names(annotations, summary.class_names)
        if summary.pixels and list(summary.pixels) != list(range(len(summary.pixels))):
            file = _label_map(building, channel)
            file.parent.mkdir(exist_ok=True)
            # The built-in algorithm's format: the key is the class id, the value is the pixel value in the PNG.
            label_map = {"map": {str(label): pixel for label, pixel in enumerate(summary.pixels)}}
            file.write_text(json.dumps(label_map) + "\n", encoding="utf-8")

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """Return the photos of a channel with their masks, ordered by name."""
        file = _label_map(channels, channel)
        pixels = tuple(range(len(read_class_names(channels / "train_annotation"))))
        if file.is_file():
            pixels = tuple(json.loads(file.read_text(encoding="utf-8"))["map"].values())
        return [
            (channels / channel / f"{mask.stem}.jpg", Truth(mask.read_bytes(), pixels))
            for mask in sorted((channels / f"{channel}_annotation").glob("*.png"))
        ]

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured for each backbone, per 128 x 128 pixels of a crop."""
        seconds = {"resnet-18": 0.086, "resnet-50": 0.6}[str(recipe["backbone"])]
        return seconds * int(recipe["crop_size"]) ** 2 / 128**2

    def parse_response(self, photo: Path, truth: Truth, response: bytes) -> Prediction:
        """Parse a response, a mask as a PNG. Raises CommandFailed for anything else."""
        true, classes = truth.mask, len(truth.pixels)
        height, width = true.shape

        def parse(body: bytes) -> NDArray[np.uint8]:
            mask, colours = masks.decode(body)
            if colours or mask.shape != true.shape or mask.max() >= classes:
                raise ValueError("not the photo's mask")
            return mask

        expected = f"a PNG mask of {width} x {height} pixels with class ids below {classes}"
        mask = report.parse_response(response, photo, expected, parse)
        return Prediction(photo, truth, response, metrics.confusion(mask, true, classes))

    def table(self, predictions: Sequence[Prediction], names: Sequence[str]) -> str:
        """Return a line per class with its IoU and its shares of true and predicted pixels, and the pixel accuracy."""
        counts = _counts(predictions)
        total = max(int(counts.sum()), 1)
        name_width = max(map(len, (*names, "pixel accuracy")))
        rows = [f"{'class':<{name_width}}   IoU  true pixels  predicted pixels"]
        for label, (name, value) in enumerate(zip(names, metrics.iou(counts), strict=True)):
            iou = "-" if np.isnan(value) else f"{value:.2f}"
            true, predicted = (100 * counts.sum(axis=axis)[label] / total for axis in (1, 0))
            rows.append(f"{name:<{name_width}}  {iou:>4}  {true:>9.1f} %  {predicted:>14.1f} %")
        rows.append(f"{'pixel accuracy':<{name_width}}  {metrics.pixel_accuracy(counts):.2f}")
        return "\n".join(rows)

    def summary_line(self, predictions: Sequence[Prediction]) -> str:
        """Return `mIOU 0.81 (3 classes, 60 photos)`: over all pixels, mean over the classes in the ground truth."""
        counts = _counts(predictions)
        occurring = len(metrics.occurring(counts))
        scored = f"{plural(occurring, 'class')}, {plural(len(predictions), 'photo')}"
        return f"mIOU {metrics.mean_iou_of_occurring(counts):.2f} ({scored})"

    def response_lines(self, response: Mapping[str, Any]) -> list[str] | None:
        """Return the classes with their share of the pixels, largest first; None for another algorithm's response."""
        if not {"classes", "mask"} <= response.keys():
            return None
        rows = sorted(response["classes"], key=lambda row: -row["share"])
        return [f"{row['label']}  {row['share']:.3f}" for row in rows if row["share"]]

    def card(self, prediction: Prediction, names: Sequence[str]) -> Image.Image:
        """Draw a photo, its true mask and its predicted mask side by side, each in a square."""
        photo, (x, y) = pages.fit_in_square(prediction.photo.read_bytes(), _TILE)
        card = Image.new("RGB", (_CARD, _TILE), "white")
        for left in range(0, _CARD, _TILE + _GAP):
            card.paste(pages.GREY, (left, 0, left + _TILE, _TILE))
        card.paste(photo, (x, y))
        for tile, mask in enumerate((prediction.truth.mask, masks.decode(prediction.png).pixels), start=1):
            card.paste(drawing.overlay(photo, mask), (tile * (_TILE + _GAP) + x, y))
        return card

    def legend(self, names: Sequence[str]) -> Image.Image:
        """Draw a line that gives the order of the images on a card, and a square in the colour of each class."""
        width, font = pages.width(self.sheet_size[0], _CARD), ImageFont.load_default(14)
        page = Image.new("RGB", (width, 22 * (2 + len(names))), "white")
        pen = ImageDraw.Draw(page)
        order = "left to right: photo, truth, prediction"
        pen.text((1, 2), order, fill=pages.INK, font=font)
        x, y = 25 + round(pen.textlength(order, font=font)), 0
        for name, *colour in zip(names, PALETTE[::3], PALETTE[1::3], PALETTE[2::3], strict=False):
            needed = 28 + round(pen.textlength(name, font=font))
            if x + needed > width:
                x, y = 1, y + 22
            pen.rectangle((x, y + 3, x + 20, y + 18), fill=tuple(colour), outline=pages.INK)
            pen.text((x + 28, y + 2), name, fill=pages.INK, font=font)
            x += needed + 24
        return page.crop((0, 0, width, y + 22))


ALGORITHM = SemanticSegmentation()


def mask_of(response: Mapping[str, Any]) -> bytes | None:
    """Return the PNG mask in an application/json;verbose response; None if it is another algorithm's."""
    return base64.b64decode(response["mask"]) if "mask" in response else None


def _label_map(channels: Path, channel: str) -> Path:
    return channels / "label_map" / f"{channel}_label_map.json"


def _counts(predictions: Sequence[Prediction]) -> NDArray[np.int64]:
    """Return the confusion matrix over the pixels of all photos, int64 (classes, classes)."""
    total: NDArray[np.int64] = np.sum([prediction.counts for prediction in predictions], axis=0)
    return total
