"""Semantic segmentation: its channels, the recipe of the demo, and how an endpoint's masks are judged.

Channels: train/NAME.jpg and train_annotation/NAME.png, the same for validation; a mask's pixels are class ids, or
become class ids by the files of the channel label_map. What is true of a photo is its mask; what an endpoint
answers, a mask of the photo's own size.
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
_BETWEEN = 4
_CARD = 3 * _TILE + 2 * _BETWEEN


@dataclass(frozen=True)
class Truth:
    """A photo's mask as a PNG, of the upright photo's size, and the pixel value in it of each class id."""

    png: bytes
    pixels: tuple[int, ...]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Class ids as uint8 (height, width), masks.IGNORE where a pixel is of no class."""
        ids = np.full(256, masks.IGNORE, np.uint8)
        ids[list(self.pixels)] = range(len(self.pixels))
        mask: NDArray[np.uint8] = ids[masks.decode(self.png).pixels]
        return mask


@dataclass(frozen=True)
class Answer:
    """A photo, what is true of it, and the endpoint's mask as the PNG that came, pixel = class id.

    `counts` is int64 (classes, classes): pixels of the photo by true class (row) and predicted class (column), without
    those that are of no class.
    """

    photo: Path
    truth: Truth
    png: bytes
    counts: NDArray[np.int64]


class SemanticSegmentation(Algorithm[Truth, Answer]):
    """An FCN with MXNet."""

    task = SEGMENTATION
    classes = ("trimap", "pet")
    demo_classes = "pet"
    usable = "photo with pixels"
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
    # From scratch. Drawn: crops of 80 let the network see more photos in the time, and it answers best at sides above
    # those it learnt from (docs/semantic-segmentation.md, inference_size).
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
    falls = ()
    job_seconds = 25
    accept = "image/png"
    curl = "curl --output mask.png"
    sheet_size = (2, 10)

    def truth(self, entry: Entry[Mask], taken: LoadedPhoto, summary: Summary) -> Truth:
        """The mask of a photo, turned with it.

        Its size tells which pixels it is of: where it has the photo's size as stored, it is turned as the photo is;
        where it has the upright photo's size only, it is of that. A file goes in byte for byte where nothing has to be
        done. Raises UserError for a mask that cannot be read or fits neither.
        """
        source, painted = entry.target.source, entry.target.read()
        upright = masks.place(painted.pixels, taken.frame)
        if upright is None:
            (high, wide), (width, height) = painted.pixels.shape, taken.frame.upright
            raise UserError(
                f"{source} has {wide} x {high} pixels and {entry.path.name} {width} x {height}: make the mask "
                "of the photo that is there"
            )
        if painted.repaired:
            summary.note("masks saved as colour pictures, made one channel", source)
        as_it_is = painted.png if np.array_equal(upright, painted.pixels) else None
        return Truth(as_it_is or png(upright), tuple(summary.pixels) or tuple(range(len(summary.class_names))))

    def labels(self, truth: Truth) -> set[int]:
        """The labels of the classes that a photo has pixels of."""
        return set(np.unique(truth.mask).tolist()) - {masks.IGNORE}

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write one channel: photos, beside them a mask for each with the same base name, and the channel label_map.

        label_map is written where pixels are not class ids yet; the class names go beside the masks of training.
        """
        annotations = write_pairs(building, channel, photos, ".png", lambda photo: photo.truth.png)
        if channel == "train":
            write_class_names(annotations, summary.class_names)
        if summary.pixels and list(summary.pixels) != list(range(len(summary.pixels))):
            file = _label_map(building, channel)
            file.parent.mkdir(exist_ok=True)
            # As the built-in has it: the key is the class id, the value the pixel in the PNG.
            label_map = {"map": {str(label): pixel for label, pixel in enumerate(summary.pixels)}}
            file.write_text(json.dumps(label_map) + "\n", encoding="utf-8")

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """The photos of a channel with their masks, by name."""
        file = _label_map(channels, channel)
        pixels = tuple(range(len(read_class_names(channels / "train_annotation"))))
        if file.is_file():
            pixels = tuple(json.loads(file.read_text(encoding="utf-8"))["map"].values())
        return [
            (channels / channel / f"{mask.stem}.jpg", Truth(mask.read_bytes(), pixels))
            for mask in sorted((channels / f"{channel}_annotation").glob("*.png"))
        ]

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured, per 128 x 128 pixels of a crop, by backbone."""
        seconds = {"resnet-18": 0.086, "resnet-50": 0.6}[str(recipe["backbone"])]
        return seconds * int(recipe["crop_size"]) ** 2 / 128**2

    def answer(self, photo: Path, truth: Truth, reply: bytes) -> Answer:
        """An endpoint's reply, a mask as PNG, beside the true mask. Raises CommandFailed for any other reply."""
        true, classes = truth.mask, len(truth.pixels)
        height, width = true.shape

        def read(body: bytes) -> NDArray[np.uint8]:
            mask, colours = masks.decode(body)
            if colours or mask.shape != true.shape or mask.max() >= classes:
                raise ValueError("not the photo's mask")
            return mask

        expected = f"a PNG mask of {width} x {height} pixels with class ids below {classes}"
        mask = report.read_reply(reply, photo, expected, read)
        return Answer(photo, truth, reply, metrics.confusion(mask, true, classes))

    def table(self, answers: Sequence[Answer], names: Sequence[str]) -> str:
        """A line per class, IoU and shares of all pixels, true and predicted; below them the pixel accuracy."""
        counts = _counts(answers)
        total = max(int(counts.sum()), 1)
        side = max(map(len, (*names, "pixel accuracy")))
        rows = [f"{'class':<{side}}   IoU  true pixels  predicted pixels"]
        for label, (name, value) in enumerate(zip(names, metrics.iou(counts), strict=True)):
            overlap = "-" if np.isnan(value) else f"{value:.2f}"
            true, predicted = (100 * counts.sum(axis=axis)[label] / total for axis in (1, 0))
            rows.append(f"{name:<{side}}  {overlap:>4}  {true:>9.1f} %  {predicted:>14.1f} %")
        rows.append(f"{'pixel accuracy':<{side}}  {metrics.pixel_accuracy(counts):.2f}")
        return "\n".join(rows)

    def last_line(self, answers: Sequence[Answer]) -> str:
        """`mIOU 0.81 (3 classes, 60 photos)`: over all pixels of all photos, mean over the classes that truly occur."""
        counts = _counts(answers)
        occurring = len(metrics.occurring(counts))
        scored = f"{plural(occurring, 'class')}, {plural(len(answers), 'photo')}"
        return f"mIOU {metrics.mean_iou_of_occurring(counts):.2f} ({scored})"

    def reply_lines(self, reply: Mapping[str, Any]) -> list[str] | None:
        """The classes by their share of a photo's pixels, of a verbose reply; None for another algorithm's."""
        if not {"classes", "mask"} <= reply.keys():
            return None
        classes = sorted(reply["classes"], key=lambda one: -one["share"])
        return [f"{one['label']}  {one['share']:.3f}" for one in classes if one["share"]]

    def card(self, answer: Answer, names: Sequence[str]) -> Image.Image:
        """A photo, its true mask and its predicted one, side by side, each whole in a square."""
        photo, (x, y) = pages.whole(answer.photo.read_bytes(), _TILE)
        card = Image.new("RGB", (_CARD, _TILE), "white")
        for left in range(0, _CARD, _TILE + _BETWEEN):
            card.paste(pages.GREY, (left, 0, left + _TILE, _TILE))
        card.paste(photo, (x, y))
        for tile, mask in enumerate((answer.truth.mask, masks.decode(answer.png).pixels), start=1):
            card.paste(drawing.painted(photo, mask), (tile * (_TILE + _BETWEEN) + x, y))
        return card

    def legend(self, names: Sequence[str]) -> Image.Image:
        """What is where on a card, and a square in each class's colour; in as many lines as it takes."""
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


def mask_of(reply: Mapping[str, Any]) -> bytes | None:
    """The PNG mask in a reply in the verbose form; None for another algorithm's."""
    return base64.b64decode(reply["mask"]) if "mask" in reply else None


def _label_map(channels: Path, channel: str) -> Path:
    return channels / "label_map" / f"{channel}_label_map.json"


def _counts(answers: Sequence[Answer]) -> NDArray[np.int64]:
    """Pixels of all photos by true and predicted class: int64 (classes, classes)."""
    total: NDArray[np.int64] = np.sum([answer.counts for answer in answers], axis=0)
    return total
