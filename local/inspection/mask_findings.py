"""What will go wrong with masks."""

from collections.abc import Callable, Iterator

import numpy as np

from local.datasets.dataset import SEGMENTATION, TRAIN
from local.inspection.census import Census
from local.inspection.finding import Finding, ended, percent
from local.inspection.listing import PARTS
from train.errors import UserError as TrainUserError
from train.semantic_segmentation import masks

RARE = 0.005
IGNORED = 0.5


def unusable(census: Census) -> Iterator[Finding]:
    """Numbers that are no class, one class alone, 0 and 255: in training's own words."""
    for channel in PARTS:
        if not census.part(channel):
            continue
        counted = census.mask_census(channel)
        try:
            counted.check()
            if channel == TRAIN:
                counted.require_classes(counted.classes())
        except TrainUserError as error:
            yield Finding(True, ended(str(error)))


def ignored(census: Census) -> Iterator[Finding]:
    """Pixels that count for nothing."""
    for channel in PARTS:
        pixels = census.pixels(channel) if census.part(channel) else np.zeros(256, np.int64)
        share = pixels[masks.IGNORE] / max(int(pixels.sum()), 1)
        if IGNORED < share < 1 and np.count_nonzero(pixels[: masks.IGNORE]) > 1:
            yield Finding(
                False,
                f"{channel}: {percent(share)} of the masks' pixels are 255 and ignored: the network learns nothing "
                f"there. That is right where nobody knows what is shown; {masks.BINARY}.",
            )


def rare(census: Census) -> Iterator[Finding]:
    """Classes of hardly any pixels."""
    amounts = census.amounts(TRAIN)
    total = sum(amounts.values())
    below = [label for label in sorted(amounts) if amounts[label] < RARE * total and label < len(census.names)]
    if below and len(amounts) > 1:
        shares = ", ".join(f"{census.names[label]} {percent(amounts[label] / total)}" for label in below[:10])
        yield Finding(
            False,
            f"Strong imbalance: {len(below)} of {len(amounts)} classes have less than {percent(RARE)} of the pixels to "
            f"train on: {shares}. A network that never answers them still has a high pixel accuracy: look at mIOU, and "
            "add photos in which they are large.",
        )


def _of_segmentation(check: Callable[[Census], Iterator[Finding]]) -> Callable[[Census], Iterator[Finding]]:
    return lambda census: check(census) if census.task == SEGMENTATION else iter(())


CHECKS = [_of_segmentation(check) for check in (unusable, ignored, rare)]
