"""Finds problems with boxes."""

from collections.abc import Callable, Iterator

import numpy as np

from local.datasets.dataset import DETECTION, TRAIN
from local.inspection.census import Census
from local.inspection.finding import Finding, percent
from local.inspection.listing import PARTS
from serve.words import plural
from train.object_detection.hyperparameters import LABEL_HEADER, LABEL_OBJECT

CELL = 8
"""The minimum size of a cell of the network's finest grid, in pixels of its input. Smaller objects leave no trace."""
MIN_TINY_FRACTION = 0.05
MAX_EMPTY_FRACTION = 0.5
_MIN_PIXELS = 2  # smaller boxes were probably not in pixels, which another finding reports


def too_many_boxes(census: Census) -> Iterator[Finding]:
    """Find photos with more objects than fit into label_width."""
    width = census.settings.label_width
    capacity = (width - LABEL_HEADER) // LABEL_OBJECT
    crowded = [photo for photo in census.photos if photo.annotation.box_count > capacity]
    if crowded:
        max_count = max(photo.annotation.box_count for photo in crowded)
        have = "has" if len(crowded) == 1 else "have"
        yield Finding(
            True,
            f"{plural(len(crowded), 'photo')} {have} up to {max_count} objects, but label_width={width}, the default, "
            f"holds only {capacity}. Set label_width to at least {LABEL_HEADER + LABEL_OBJECT * max_count}.",
            tuple(f"{photo.name} ({photo.annotation.box_count})" for photo in crowded),
        )


def no_boxes(census: Census) -> Iterator[Finding]:
    """Find channels in which most photos have no box. A few are useful as background."""
    for channel in PARTS:
        photos = census.part(channel)
        empty = [photo for photo in photos if not len(photo.boxes)]
        if photos and len(empty) == len(photos):
            yield Finding(True, f"{channel}: no photo has a usable box.")
        elif len(empty) > MAX_EMPTY_FRACTION * len(photos):
            yield Finding(
                False,
                f"{channel}: {len(empty)} of {plural(len(photos), 'photo')} have no box. The network learns that they "
                "contain only background, even if they show objects that were not annotated. Annotate the objects, or "
                "remove the photos.",
                tuple(photo.name for photo in empty),
            )


def tiny_boxes(census: Census) -> Iterator[Finding]:
    """Find boxes that become too small when the photo is resized to the network's input."""
    settings, photos = census.settings, census.part(TRAIN)
    names, total = [], 0
    for photo in photos:
        sides = photo.boxes[:, 3:] - photo.boxes[:, 1:3]
        total += len(sides)
        too_small = (sides * (settings.width, settings.height)).min(axis=1, initial=np.inf) < CELL
        in_pixels = (sides * photo.size).min(axis=1, initial=np.inf) >= _MIN_PIXELS
        if count := int((too_small & in_pixels).sum()):
            names += [photo.name] * count
    if names and len(names) >= MIN_TINY_FRACTION * total:
        are = "is" if len(names) == 1 else "are"
        yield Finding(
            False,
            f"{len(names)} of {plural(total, 'training box')} ({percent(len(names) / total)}) {are} less than {CELL} "
            f"pixels wide or high at {settings}, too small for the network to detect. Set a larger image_shape, or cut "
            "the photos into tiles.",
            tuple(dict.fromkeys(names)),
        )


def _for_detection(check: Callable[[Census], Iterator[Finding]]) -> Callable[[Census], Iterator[Finding]]:
    return lambda census: check(census) if census.task == DETECTION else iter(())


CHECKS = [_for_detection(check) for check in (too_many_boxes, no_boxes, tiny_boxes)]
