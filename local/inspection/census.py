"""The census of a job's channels: every photo looked at once, and what that adds up to."""

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
from local.inspection.listing import PARTS, Item, Known, LeftOut, Listing
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
    """A photo that a job can use: where it is, what it cache like, and what is known of it."""

    item: Item
    look: PhotoInfo
    known: Known

    @property
    def name(self) -> str:
        """Its channel and its path in it."""
        return self.item.name

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Its boxes, float32 (n, 5) [class, xmin, ymin, xmax, ymax] in fractions of the upright photo."""
        return self.known.boxes if self.known.boxes is not None else np.zeros((0, 5), np.float32)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright."""
        return self.look.frame.upright

    def mask(self) -> NDArray[np.uint8] | None:
        """Read its mask, uint8 (H, W) class ids, where it has one."""
        return self.item.mask(self.look.frame) if self.item.mask else None


class Lost(NamedTuple):
    """A photo that a job leaves out: its channel, why, in words that a number follows, and its name with the reason."""

    channel: str
    kind: str
    text: str


@dataclass(frozen=True)
class Census:
    """All that was found. `name` is the algorithm's; `names` are those of the classes by label, "7" for one without."""

    name: str
    settings: Settings
    listing: Listing
    photos: Sequence[Photo]
    lost: Sequence[Lost]
    names: tuple[str, ...]

    @property
    def task(self) -> str:
        """What has to be known of a photo, one of dataset.TASKS."""
        return algorithms.get(self.name).task

    @cached_property
    def _parts(self) -> dict[str, list[Photo]]:
        return {part: [photo for photo in self.photos if photo.item.channel == part] for part in PARTS}

    def part(self, channel: str) -> list[Photo]:
        """The photos of the channel train or validation."""
        return self._parts[channel]

    def photos_with(self, channel: str) -> Counter[int]:
        """How many photos of a channel have each label."""
        return Counter(label for photo in self.part(channel) for label in photo.known.labels)

    def amounts(self, channel: str) -> Counter[int]:
        """How much of each class a channel has: boxes, pixels that are not ignored, or photos."""
        every = self.part(channel)
        if every and every[0].known.boxes is not None:
            return Counter(int(label) for photo in every for label in photo.boxes[:, 0])
        if every and every[0].known.values is not None:
            pixels = self.pixels(channel)[: masks.IGNORE]
            return Counter({int(label): int(pixels[label]) for label in np.flatnonzero(pixels)})
        return self.photos_with(channel)

    def pixels(self, channel: str) -> NDArray[np.int64]:
        """How many pixels of a channel's masks each class has, int64 (256,); of masks.IGNORE how many are ignored."""
        return self.mask_census(channel).classes()

    def mask_census(self, channel: str) -> masks.Census:
        """Training's own census of a channel's masks."""
        return self._mask_censuses[channel]

    @cached_property
    def _mask_censuses(self) -> dict[str, masks.Census]:
        found = {}
        for part, label_map in self.listing.label_maps.items():
            found[part] = masks.Census(f"{part}_annotation", replace(label_map, classes=self.mask_classes))
            for photo in self.part(part):
                if photo.known.values is not None:
                    found[part].count(photo.item.mask_name, photo.known.values)
        return found

    def boxes(self, channel: str | None = None) -> NDArray[np.float32]:
        """All boxes, or those of a channel: float32 (n, 5) in fractions of the upright photo."""
        every = self.photos if channel is None else self.part(channel)
        return np.concatenate([np.zeros((0, 5), np.float32), *(photo.boxes for photo in every)])

    @property
    def classes(self) -> int:
        """num_classes as the channels have it: the names', or more where labels go beyond them."""
        return len(self.names)

    @cached_property
    def mask_classes(self) -> int:
        """num_classes as a job on masks has it: where numbers have wide gaps, they are not class ids."""
        if self.listing.named:
            return max(len(self.listing.named), 2)
        seen = {label for photo in self.photos for label in photo.known.labels}
        return max(2, self.classes if self.classes <= masks.GAPS * len(seen) else len(seen))

    @property
    def hyperparameters(self) -> dict[str, int]:
        """What a job on these channels has to be given."""
        classes = self.mask_classes if self.task == SEGMENTATION else self.classes
        found = {"num_classes": classes, "num_training_samples": len(self.part(TRAIN))}
        return found | ({"multi_label": 1} if self.listing.multi_label else {})


def take(name: str, folder: Path, settings: Settings, cache: PhotoCache) -> Census:
    """Read all channels below `folder` once. Raises UserError for a channel that is missing; all else is noted."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the folder of the channels, as `prepare` writes it")
    listing = channels.listed(name, algorithms.get(name).task, folder_channels(folder))
    photos: list[Photo] = []
    lost: list[Lost] = []
    with Progress("Inspecting", len(listing.items), "photo") as progress:
        for number, seen in enumerate(_seen(listing.items, cache), start=1):
            if isinstance(seen, Lost):
                lost.append(seen)
            else:
                photos.append(seen)
            progress.done(number)
    return Census(name, settings, listing, photos, lost, _names(listing, photos))


def _names(listing: Listing, photos: Sequence[Photo]) -> tuple[str, ...]:
    """A name for each class up to the highest label; its number where the channels have none."""
    highest = max((label for photo in photos for label in photo.known.labels), default=-1)
    named = listing.named or ()
    classes = max(highest + 1, len(named), listing.columns)
    with listing.reading(CLASSES):
        named = listing.name(classes) or named
    return tuple(named[:classes]) + tuple(str(label) for label in range(len(named), classes))


def _seen(items: Sequence[Item], cache: PhotoCache) -> Iterator[Photo | Lost]:
    """Decode each photo, in order. Work in chunks, so that Ctrl-C ends it soon."""
    look: Callable[[Item], Photo | Lost] = lambda item: _look(item, cache)  # noqa: E731
    with ThreadPoolExecutor(cpu_count()) as pool:
        for start in range(0, len(items), _CHUNK):
            yield from pool.map(look, items[start : start + _CHUNK])


def _look(item: Item, cache: PhotoCache) -> Photo | Lost:
    try:
        look = cache.at(item.sample.read())
        return Photo(item, look, item.know(look.frame))
    except UnreadableImage as error:
        return Lost(item.channel, UNREADABLE, f"{item.name} {error}")
    except LeftOut as reason:
        return Lost(item.channel, reason.kind, str(reason))
