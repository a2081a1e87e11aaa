"""Finds problems with masks."""

from collections.abc import Callable, Iterator

import numpy as np

from local.datasets.dataset import SEGMENTATION, TRAIN
from local.inspection.census import Census
from local.inspection.finding import Finding, percent, with_full_stop
from local.inspection.listing import PARTS
from train.errors import UserError as TrainUserError
from train.semantic_segmentation import masks

MIN_CLASS_FRACTION = 0.005
MAX_IGNORED_FRACTION = 0.5


def unusable(census: Census) -> Iterator[Finding]:
    """Find errors of the training job: pixel values that are not classes, a single class, only 0 and 255."""
    for channel in PARTS:
        if not census.part(channel):
            continue
        counted = census.mask_census(channel)
        try:
            counted.check()
            if channel == TRAIN:
                counted.require_classes(counted.classes())
        except TrainUserError as error:
            yield Finding(True, with_full_stop(str(error)))


def ignored(census: Census) -> Iterator[Finding]:
    """Find channels in which most pixels are ignored."""
    for channel in PARTS:
        pixels = census.pixels(channel) if census.part(channel) else np.zeros(256, np.int64)
        fraction = pixels[masks.IGNORE] / max(int(pixels.sum()), 1)
        if MAX_IGNORED_FRACTION < fraction < 1 and np.count_nonzero(pixels[: masks.IGNORE]) > 1:
            yield Finding(
                False,
                f"{channel}: {percent(fraction)} of the masks' pixels are 255, which is ignored: the network learns "
                f"nothing from them. This is correct if their class is unknown; {masks.BINARY}.",
            )


def rare_classes(census: Census) -> Iterator[Finding]:
    """Find classes with hardly any pixels."""
    amounts = census.amounts(TRAIN)
    total = sum(amounts.values())
    rare = [
        label
        for label in sorted(amounts)
        if amounts[label] < MIN_CLASS_FRACTION * total and label < len(census.class_names)
    ]
    if rare and len(amounts) > 1:
        fractions = ", ".join(f"{census.class_names[label]} {percent(amounts[label] / total)}" for label in rare[:10])
        have = "has" if len(rare) == 1 else "have"
        yield Finding(
            False,
            f"Strong imbalance: {len(rare)} of {len(amounts)} classes {have} less than {percent(MIN_CLASS_FRACTION)} "
            f"of the training pixels: {fractions}. A network that never predicts these classes still has a high pixel "
            "accuracy. Check mIOU, and add photos in which these classes are large.",
        )


def _for_segmentation(check: Callable[[Census], Iterator[Finding]]) -> Callable[[Census], Iterator[Finding]]:
    return lambda census: check(census) if census.task == SEGMENTATION else iter(())


CHECKS = [_for_segmentation(check) for check in (unusable, ignored, rare_classes)]
