"""Sample photos, evenly over the classes, with what is known of them drawn on."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from local.algorithms import drawing, pages
from local.datasets.dataset import TRAIN
from local.inspection.census import Census, Photo
from serve import preprocess
from serve.tasks.masks import PALETTE

SIDES = {"classification": 240, "detection": 320, "segmentation": 280}
"""Pixels of a sample's longer side, by task."""
SAMPLES = {"classification": (21, 7), "detection": (12, 4), "segmentation": (9, 3)}
"""How many samples of train and of validation; of train as many as there are classes, up to MOST."""
MOST = 60


class Sample(NamedTuple):
    """A photo as a sample: what is shown of it, one picture or, with a mask, two; and the names of its classes."""

    photo: Photo
    pictures: tuple[Image.Image, ...]
    labels: tuple[int, ...]


def samples(census: Census, channel: str) -> list[Sample]:
    """Draw some photos of a channel."""
    side, (train, validation) = SIDES[census.task], SAMPLES[census.task]
    count = max(train, min(census.classes, MOST)) if channel == TRAIN else validation
    return [_sample(photo, side, census.names) for photo in evenly(census.part(channel), count)]


def evenly(photos: Sequence[Photo], count: int) -> list[Photo]:
    """Choose `count` photos, as many of each class as can be, at equal distances; by class."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        for label in photo.known.labels or (-1,):
            groups[label].append(index)
    labels = pages.evenly(sorted(groups), count)
    each = -(-count // max(len(labels), 1))
    queues = [pages.evenly(groups[label], each) for label in labels]
    chosen: dict[int, None] = {}
    for turn in range(each):
        for queue in queues:
            if turn < len(queue) and len(chosen) < count:
                chosen.setdefault(queue[turn])
    others = [index for index in range(len(photos)) if index not in chosen]
    chosen |= dict.fromkeys(pages.evenly(others, count - len(chosen)))
    first = {index: min(photos[index].known.labels, default=-1) for index in chosen}
    return [photos[index] for index in sorted(chosen, key=lambda index: (first[index], index))]


def colour(label: int) -> drawing.Colour:
    """The colour of a class: that of its pixels in a mask."""
    red, green, blue = PALETTE[3 * label : 3 * label + 3]
    return red, green, blue


def box_colour(label: int) -> drawing.Colour:
    """The colour of a class's boxes: the first of masks is nearly black, so boxes begin with the second."""
    return colour(1 + label % 253)


def _sample(photo: Photo, side: int, names: Sequence[str]) -> Sample:
    data = photo.item.sample.read()
    if photo.known.boxes is None and photo.item.mask is None:
        image = preprocess.decode(data, short_side=side)
        return Sample(photo, (ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR),), photo.known.labels)
    image, _ = pages.whole(data, side)
    mask = photo.mask()
    if mask is not None:
        return Sample(photo, (image, drawing.painted(image, mask)), photo.known.labels)
    _draw_boxes(image, photo, names)
    return Sample(photo, (image,), photo.known.labels)


def _draw_boxes(image: Image.Image, photo: Photo, names: Sequence[str]) -> None:
    """Draw the boxes on a photo, the small ones last, each with its class, by number where its name cannot be drawn."""
    pen = ImageDraw.Draw(image)
    sides = photo.boxes[:, 3:] - photo.boxes[:, 1:3]
    boxes = photo.boxes[np.argsort(-sides.prod(axis=1), kind="stable")]
    placed = [(int(box[0]), drawing.corners(box[1:].astype(float) * (image.size * 2))) for box in boxes]
    for label, corners in placed:
        drawing.outline(pen, corners, box_colour(label))
    for label, corners in placed if len(placed) <= 12 else ():
        drawing.tag(pen, corners, drawable(names[label], label), box_colour(label), image.width)


def drawable(name: str, label: int) -> str:
    """A class's name where the font of pictures has its letters; else its number."""
    return name if name.isprintable() and all(ord(letter) < 0x250 for letter in name) else str(label)
