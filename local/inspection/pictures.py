"""Sample photos, balanced over the classes, with their annotations drawn on them."""

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
"""The longer side of a sample in pixels, by task."""
SAMPLES = {"classification": (21, 7), "detection": (12, 4), "segmentation": (9, 3)}
"""The minimum number of train samples, and the number of validation samples, by task."""
MAX_SAMPLES = 60
"""The maximum number of train samples; up to this, there is one for each class."""


class Sample(NamedTuple):
    """A sample photo, its pictures (one, or two with a mask), and its labels."""

    photo: Photo
    pictures: tuple[Image.Image, ...]
    labels: tuple[int, ...]


def samples(census: Census, channel: str) -> list[Sample]:
    """Return drawn samples of a channel."""
    side, (train, validation) = SIDES[census.task], SAMPLES[census.task]
    count = max(train, min(census.num_classes, MAX_SAMPLES)) if channel == TRAIN else validation
    return [_sample(photo, side, census.class_names) for photo in balanced(census.part(channel), count)]


def balanced(photos: Sequence[Photo], count: int) -> list[Photo]:
    """Choose `count` evenly spaced photos, balanced over the classes, and return them ordered by class."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        for label in photo.annotation.labels or (-1,):
            groups[label].append(index)
    labels = pages.evenly(sorted(groups), count)
    per_class = -(-count // max(len(labels), 1))
    queues = [pages.evenly(groups[label], per_class) for label in labels]
    chosen: dict[int, None] = {}
    for turn in range(per_class):
        for queue in queues:
            if turn < len(queue) and len(chosen) < count:
                chosen.setdefault(queue[turn])
    others = [index for index in range(len(photos)) if index not in chosen]
    chosen |= dict.fromkeys(pages.evenly(others, count - len(chosen)))
    first_label = {index: min(photos[index].annotation.labels, default=-1) for index in chosen}
    return [photos[index] for index in sorted(chosen, key=lambda index: (first_label[index], index))]


def colour(label: int) -> drawing.Colour:
    """Return the colour of a class in masks."""
    red, green, blue = PALETTE[3 * label : 3 * label + 3]
    return red, green, blue


def box_colour(label: int) -> drawing.Colour:
    """Return the colour of a class's boxes; skips the first mask colour, which is nearly black."""
    return colour(1 + label % 253)


def _sample(photo: Photo, side: int, names: Sequence[str]) -> Sample:
    data = photo.item.sample.read()
    labels = photo.annotation.labels
    if photo.annotation.boxes is None and photo.item.mask is None:
        image = preprocess.decode(data, short_side=side)
        return Sample(photo, (ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR),), labels)
    image, _ = pages.fit_in_square(data, side)
    mask = photo.mask()
    if mask is not None:
        return Sample(photo, (image, drawing.overlay(image, mask)), labels)
    _draw_boxes(image, photo, names)
    return Sample(photo, (image,), labels)


def _draw_boxes(image: Image.Image, photo: Photo, names: Sequence[str]) -> None:
    """Draw the boxes on a photo, small ones last, with the names of their classes if there are not too many."""
    pen = ImageDraw.Draw(image)
    sides = photo.boxes[:, 3:] - photo.boxes[:, 1:3]
    boxes = photo.boxes[np.argsort(-sides.prod(axis=1), kind="stable")]
    placed = [(int(box[0]), drawing.corners(box[1:].astype(float) * (image.size * 2))) for box in boxes]
    for label, corners in placed:
        drawing.outline(pen, corners, box_colour(label))
    for label, corners in placed if len(placed) <= 12 else ():
        drawing.tag(pen, corners, drawable(names[label], label), box_colour(label), image.width)


def drawable(name: str, label: int) -> str:
    """Return a class's name, or its number if the font lacks a character of the name."""
    return name if name.isprintable() and all(ord(letter) < 0x250 for letter in name) else str(label)
