"""What the channels of a job list, before a photo is opened: read by training's own readers, nothing of it refused."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from local.datasets.dataset import TRAIN, VALIDATION
from local.errors import UserError
from serve.preprocess import Frame
from train.data.channels import Channel, is_recordio, require_all
from train.data.samples import Sample
from train.errors import UserError as TrainUserError
from train.log import LOG
from train.semantic_segmentation.masks import LabelMap

MANY = 100_000
"""More classes than anybody has: a number that is not below it is not a class."""


class LeftOut(Exception):
    """A job leaves this photo out. `kind` says why, in words that a number follows; the text names it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Known(NamedTuple):
    """What is known of a photo: the labels of the classes on it, and its boxes or the pixels of its mask.

    `boxes` are float32 (n, 5) [class, xmin, ymin, xmax, ymax] in fractions of the upright photo, `given` how many there
    were before the useless ones were dropped; `values` are int64 (256,), how many pixels of the mask have each number.
    `notes` are kinds of repair with the names of what was repaired.
    """

    labels: tuple[int, ...]
    boxes: NDArray[np.float32] | None = None
    given: int = 0
    values: NDArray[np.int64] | None = None
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Item:
    """A photo that a channel lists, under the name by which its user knows it.

    `know` says what is known of it, given its header's frame, or raises LeftOut; `mask` is its mask, uint8 (H, W) class
    ids on the upright photo, where it has one, and `mask_name` its path in its channel.
    """

    channel: str
    name: str
    sample: Sample[object]
    know: Callable[[Frame], Known]
    mask: Callable[[Frame], NDArray[np.uint8]] | None = None
    mask_name: str = ""


@dataclass
class Listing:
    """What the channels hold. `refused` are the errors with which a job ends, by channel; `remarks` what it logs.

    `named` are the names of the classes where the channels give them in order; `name` finds names for a number of
    classes, None without any. `label_maps`, of masks, are by channel. `columns` is how many numbers of 0 and 1 a
    multi-label photo has, else 0. `split_off` is the share of the photos that a job
    validates on where no channel holds any.
    """

    form: str
    items: list[Item] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    named: tuple[str, ...] | None = None
    name: Callable[[int], tuple[str, ...] | None] = lambda classes: None
    label_maps: dict[str, LabelMap] = field(default_factory=dict)
    columns: int = 0
    split_off: float | None = None

    def refuse(self, channel: str) -> Callable[[TrainUserError], None]:
        """What notes an error about `channel`, in place of ending the job."""
        return lambda error: self.refused.setdefault(channel, []).append(str(error))

    @property
    def multi_label(self) -> bool:
        """Whether a photo may be of any number of classes."""
        return self.columns > 0

    @contextmanager
    def reading(self, channel: str) -> Iterator[None]:
        """Notes what ends the reading of `channel`, but for an echo of what was refused before, and what is logged."""
        with _heard(self.remarks):
            try:
                yield
            except TrainUserError as error:
                if channel not in self.refused:
                    self.refuse(channel)(error)


def require(channels: dict[str, Channel], labels: str, why: str) -> None:
    """Raise UserError in training's words when a channel is missing."""
    try:
        require_all(channels, labels, why)
    except TrainUserError as error:
        raise UserError(str(error)) from None


def form_of(channels: dict[str, Channel], labels: str) -> str:
    """Return "RecordIO" or "image", the form of the training channel."""
    return "RecordIO" if is_recordio(channels, TRAIN, f"{TRAIN}_{labels}") else "image"


PARTS: Sequence[str] = (TRAIN, VALIDATION)


@contextmanager
def _heard(lines: list[str]) -> Iterator[None]:
    """Keep the warnings that training's readers log, each line once, and print none."""

    def emit(record: logging.LogRecord) -> None:
        if record.getMessage() not in lines:
            lines.append(record.getMessage())

    handler, propagate = logging.Handler(logging.WARNING), LOG.propagate
    handler.emit = emit  # type: ignore[method-assign]
    LOG.addHandler(handler)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.propagate = propagate
