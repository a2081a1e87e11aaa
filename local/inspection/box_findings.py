"""What will go wrong with boxes."""

from collections.abc import Callable, Iterator

import numpy as np

from local.datasets.dataset import DETECTION, TRAIN
from local.inspection.census import Census
from local.inspection.finding import Finding, percent
from local.inspection.listing import PARTS
from serve.words import plural
from train.object_detection.hyperparameters import LABEL_HEADER, LABEL_OBJECT

CELL = 8
"""Pixels of the network's input that a cell of its finest grid covers at least: what is smaller leaves no trace."""
TINY = 0.05
EMPTY = 0.5
_PIXEL = 2  # what is smaller in the photo itself is not in pixels, another finding


def too_many(census: Census) -> Iterator[Finding]:
    """More objects in a photo than label_width holds."""
    width = census.settings.label_width
    holds = (width - LABEL_HEADER) // LABEL_OBJECT
    above = [photo for photo in census.photos if photo.known.given > holds]
    if above:
        most = max(photo.known.given for photo in above)
        yield Finding(
            True,
            f"{plural(len(above), 'photo')} with more objects than label_width={width}, the default, holds ({holds}): "
            f"up to {most}. Set label_width to at least {LABEL_HEADER + LABEL_OBJECT * most}.",
            tuple(f"{photo.name} ({photo.known.given})" for photo in above),
        )


def empty(census: Census) -> Iterator[Finding]:
    """Photos without a box: fine as background, if they are not too many."""
    for channel in PARTS:
        photos = census.part(channel)
        bare = [photo for photo in photos if not len(photo.boxes)]
        if photos and len(bare) == len(photos):
            yield Finding(True, f"{channel}: no photo has a box that can be used.")
        elif len(bare) > EMPTY * len(photos):
            yield Finding(
                False,
                f"{channel}: {len(bare)} of {plural(len(photos), 'photo')} have no box. All of them is background to "
                "the network: where objects were only not annotated, it learns not to find them. Annotate them, or "
                "leave the photos out.",
                tuple(photo.name for photo in bare),
            )


def tiny(census: Census) -> Iterator[Finding]:
    """Boxes that vanish when a photo becomes the network's input."""
    settings, photos = census.settings, census.part(TRAIN)
    names, total = [], 0
    for photo in photos:
        sides = photo.boxes[:, 3:] - photo.boxes[:, 1:3]
        total += len(sides)
        vanish = (sides * (settings.width, settings.height)).min(axis=1, initial=np.inf) < CELL
        real = (sides * photo.size).min(axis=1, initial=np.inf) >= _PIXEL
        if count := int((vanish & real).sum()):
            names += [photo.name] * count
    if names and len(names) >= TINY * total:
        yield Finding(
            False,
            f"{len(names)} of {total} boxes to train on ({percent(len(names) / total)}) are less than {CELL} pixels "
            f"wide or high at {settings}: the network does not see such objects. Set a larger image_shape, or cut the "
            "photos into parts.",
            tuple(dict.fromkeys(names)),
        )


def _of_detection(check: Callable[[Census], Iterator[Finding]]) -> Callable[[Census], Iterator[Finding]]:
    return lambda census: check(census) if census.task == DETECTION else iter(())


CHECKS = [_of_detection(check) for check in (too_many, empty, tiny)]
