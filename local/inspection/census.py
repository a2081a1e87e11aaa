"""Reads all photos of a job's channels once, and computes statistics."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from local import algorithms
from local.datasets.dataset import SEGMENTATION, TRAIN
from local.datasets.photo_cache import PhotoCache, PhotoInfo
from local.errors import UserError
from local.inspection import channels
from local.inspection.listing import PARTS, Annotation, Item, Listing, SkippedPhoto
from local.inspection.settings import Settings
from local.progress import Progress
from serve.machine import cpu_count
from serve.preprocess import UnreadableImage
from train.data.channels import CLASSES, folder_channels
from train.semantic_segmentation import masks

UNREADABLE = "photos that cannot be read, left out"
_CHUNK = 256


@dataclass(frozen=True)
class Photo:
    """A photo that the job can use, with facts from its pixels and its annotation."""

    item: Item
    info: PhotoInfo
    annotation: Annotation

    @property
    def name(self) -> str:
        """The name for messages: its channel and its path or record."""
        return self.item.name

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Its boxes, float32 (n, 5) [class, xmin, ymin, xmax, ymax] in fractions of the upright photo."""
        return self.annotation.boxes if self.annotation.boxes is not None else np.zeros((0, 5), np.float32)

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the upright photo in pixels."""
        return self.info.frame.upright

    def mask(self) -> NDArray[np.uint8] | None:
        """Read its mask, uint8 (H, W) class ids; None if it has none."""
        return self.item.mask(self.info.frame) if self.item.mask else None


class Skipped(NamedTuple):
    """A photo that the job skips: its channel, the kind of problem, and a text with the photo and the reason."""

    channel: str
    kind: str
    text: str


@dataclass(frozen=True)
class Census:
    """The contents of a job's channels.

    `name` is the name of the algorithm. `class_names` are ordered by label; a class without a name has its number.
    """

    name: str
    settings: Settings
    listing: Listing
    photos: Sequence[Photo]
    skipped: Sequence[Skipped]
    class_names: tuple[str, ...]

    @property
    def task(self) -> str:
        """One of dataset.TASKS."""
        return algorithms.get(self.name).task

    @cached_property
    def _parts(self) -> dict[str, list[Photo]]:
        return {part: [photo for photo in self.photos if photo.item.channel == part] for part in PARTS}

    def part(self, channel: str) -> list[Photo]:
        """Return the photos of the channel train or validation."""
        return self._parts[channel]

    def photos_with(self, channel: str) -> Counter[int]:
        """Return the number of photos of a channel that have each label."""
        return Counter(label for photo in self.part(channel) for label in photo.annotation.labels)

    def amounts(self, channel: str) -> Counter[int]:
        """Return the number of boxes, pixels that are not ignored, or photos of each class in a channel."""
        photos = self.part(channel)
        if photos and photos[0].annotation.boxes is not None:
            return Counter(int(label) for photo in photos for label in photo.boxes[:, 0])
        if photos and photos[0].annotation.histogram is not None:
            pixels = self.pixels(channel)[: masks.IGNORE]
            return Counter({int(label): int(pixels[label]) for label in np.flatnonzero(pixels)})
        return self.photos_with(channel)

    def pixels(self, channel: str) -> NDArray[np.int64]:
        """Return the pixels of each class in a channel's masks, int64 (256,); ignored pixels count at masks.IGNORE."""
        return self.mask_census(channel).classes()

    def mask_census(self, channel: str) -> masks.Census:
        """Return the training job's census of a channel's masks."""
        return self._mask_censuses[channel]

    @cached_property
    def _mask_censuses(self) -> dict[str, masks.Census]:
        censuses = {}
        for part, label_map in self.listing.label_maps.items():
            censuses[part] = masks.Census(f"{part}_annotation", replace(label_map, classes=self.num_mask_classes))
            for photo in self.part(part):
                if photo.annotation.histogram is not None:
                    censuses[part].count(photo.item.mask_name, photo.annotation.histogram)
        return censuses

    def boxes(self, channel: str | None = None) -> NDArray[np.float32]:
        """Return all boxes, or those of a channel: float32 (n, 5) in fractions of the upright photo."""
        photos = self.photos if channel is None else self.part(channel)
        return np.concatenate([np.zeros((0, 5), np.float32), *(photo.boxes for photo in photos)])

    @property
    def num_classes(self) -> int:
        """The number of class names, or the highest label + 1 if that is larger."""
        return len(self.class_names)

    @cached_property
    def num_mask_classes(self) -> int:
        """The num_classes of a job with these masks. If pixel values have wide gaps, they are not class ids."""
        if self.listing.class_names:
            return max(len(self.listing.class_names), 2)
        seen = {label for photo in self.photos for label in photo.annotation.labels}
        return max(2, self.num_classes if self.num_classes <= masks.GAPS * len(seen) else len(seen))

    @property
    def hyperparameters(self) -> dict[str, int]:
        """The hyperparameters that a job with these channels needs."""
        classes = self.num_mask_classes if self.task == SEGMENTATION else self.num_classes
        values = {"num_classes": classes, "num_training_samples": len(self.part(TRAIN))}
        return values | ({"multi_label": 1} if self.listing.multi_label else {})


def take(name: str, folder: Path, settings: Settings, cache: PhotoCache) -> Census:
    """Read all channels below `folder`. Raises UserError if a channel is missing; other problems are collected."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give a folder of channels, as `prepare` writes it")
    listing = channels.list_channels(name, algorithms.get(name).task, folder_channels(folder))
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    with Progress("Inspecting", len(listing.items), "photo") as progress:
        for number, result in enumerate(_read_all(listing.items, cache), start=1):
            if isinstance(result, Skipped):
                skipped.append(result)
            else:
                photos.append(result)
            progress.done(number)
    return Census(name, settings, listing, photos, skipped, _class_names(listing, photos))


def _class_names(listing: Listing, photos: Sequence[Photo]) -> tuple[str, ...]:
    """Return a name for each class up to the highest label; the number itself if the channels have no name."""
    highest = max((label for photo in photos for label in photo.annotation.labels), default=-1)
    names = listing.class_names or ()
    classes = max(highest + 1, len(names), listing.label_columns)
    with listing.reading(CLASSES):
        names = listing.names_for(classes) or names
    return tuple(names[:classes]) + tuple(str(label) for label in range(len(names), classes))


def _read_all(items: Sequence[Item], cache: PhotoCache) -> Iterator[Photo | Skipped]:
    """Read all photos in order, in chunks, so that Ctrl-C takes effect soon."""
    read: Callable[[Item], Photo | Skipped] = lambda item: _read(item, cache)  # noqa: E731
    with ThreadPoolExecutor(cpu_count()) as pool:
        for start in range(0, len(items), _CHUNK):
            yield from pool.map(read, items[start : start + _CHUNK])


def _read(item: Item, cache: PhotoCache) -> Photo | Skipped:
    try:
        info = cache.at(item.sample.read())
        return Photo(item, info, item.read_annotation(info.frame))
    except UnreadableImage as error:
        return Skipped(item.channel, UNREADABLE, f"{item.name} {error}")
    except SkippedPhoto as skipped:
        return Skipped(item.channel, skipped.kind, str(skipped))
