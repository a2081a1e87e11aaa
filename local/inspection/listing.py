"""The contents of a job's channels before photos are opened.

The readers of the training job list the channels. Their errors are collected instead of ending the program.
"""

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

MAX_CLASSES = 100_000
"""A limit above any real number of classes: larger numbers are not class ids."""


class SkippedPhoto(Exception):
    """The job skips this photo. `kind` is the reason, a phrase that precedes a count; `text` names the photo."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Annotation(NamedTuple):
    """The annotation of a photo: the labels of its classes, and its boxes or a histogram of its mask.

    `boxes` is float32 (n, 5) [class, xmin, ymin, xmax, ymax] in fractions of the upright photo, and `box_count` the
    number of boxes before unusable ones were dropped. `histogram` is int64 (256,), the number of pixels of the mask for
    each pixel value. `repairs` are pairs of a kind of repair and what was repaired.
    """

    labels: tuple[int, ...]
    boxes: NDArray[np.float32] | None = None
    box_count: int = 0
    histogram: NDArray[np.int64] | None = None
    repairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Item:
    """A photo of a channel. `name` is its path, or its record, for messages.

    `read_annotation` returns its annotation, given the frame from its header, or raises SkippedPhoto. `mask` returns
    its mask on the upright photo, uint8 (H, W) class ids; `mask_name` is the mask's path in its channel.
    """

    channel: str
    name: str
    sample: Sample[object]
    read_annotation: Callable[[Frame], Annotation]
    mask: Callable[[Frame], NDArray[np.uint8]] | None = None
    mask_name: str = ""


@dataclass
class Listing:
    """The contents of the channels. `errors` are fatal errors of the readers, by channel; `remarks` are their warnings.

    `class_names` are the names that a channel lists in order, or None. `names_for` returns names for a number of
    classes, or None. `label_maps` are by channel, for masks. `label_columns` is the number of 0s and 1s of a
    multi-label photo, else 0. `validation_split` is the fraction of photos that the job validates on if there is no
    validation channel.
    """

    form: str
    items: list[Item] = field(default_factory=list)
    errors: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    class_names: tuple[str, ...] | None = None
    names_for: Callable[[int], tuple[str, ...] | None] = lambda classes: None
    label_maps: dict[str, LabelMap] = field(default_factory=dict)
    label_columns: int = 0
    validation_split: float | None = None

    def error_handler(self, channel: str) -> Callable[[TrainUserError], None]:
        """Return a function that adds an error to those of `channel`."""
        return lambda error: self.errors.setdefault(channel, []).append(str(error))

    @property
    def multi_label(self) -> bool:
        """Whether a photo can have any number of classes."""
        return self.label_columns > 0

    @contextmanager
    def reading(self, channel: str) -> Iterator[None]:
        """Collect the warnings of the block and, unless `channel` has errors already, the error that ends it."""
        with _collect_warnings(self.remarks):
            try:
                yield
            except TrainUserError as error:
                if channel not in self.errors:
                    self.error_handler(channel)(error)


def require(channels: dict[str, Channel], labels: str, why: str) -> None:
    """Raise UserError with the training job's message if a channel is missing."""
    try:
        require_all(channels, labels, why)
    except TrainUserError as error:
        raise UserError(str(error)) from None


def form_of(channels: dict[str, Channel], labels: str) -> str:
    """Return the format of the train channel, "RecordIO" or "image"."""
    return "RecordIO" if is_recordio(channels, TRAIN, f"{TRAIN}_{labels}") else "image"


PARTS: Sequence[str] = (TRAIN, VALIDATION)


@contextmanager
def _collect_warnings(lines: list[str]) -> Iterator[None]:
    """Add the warnings that the readers log to `lines`, each once, instead of printing them."""

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
