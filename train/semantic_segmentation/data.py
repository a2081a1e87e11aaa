"""Load the photos and masks of semantic-segmentation and make batches for the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.words import plural
from train.data import distribution, samples
from train.data.channels import Channel, class_names, refuse_unsupported, require_all
from train.data.distribution import Distribution
from train.data.pixels import MEAN, STD, Normalise
from train.data.samples import Batches, DataIssues, Sample, SampleCache
from train.errors import UserError
from train.job.peers import ALONE, Peers
from train.log import LOG
from train.semantic_segmentation import files, masks
from train.semantic_segmentation.augment import augment, max_side
from train.semantic_segmentation.hyperparameters import Hyperparameters
from train.semantic_segmentation.masks import IGNORE, Census, LabelMap

T = TypeVar("T")
Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
Views = tuple[SampleCache[Image.Image], SampleCache[NDArray[np.uint8]]]
IGNORED = -1
"""The label, in a batch, of pixels that the loss ignores."""

# The share of the cache for photos, which have three bytes per pixel; masks have one.
_PHOTOS_FRACTION = 0.75


@dataclass(frozen=True)
class Data:
    """The readable training and validation photos with their masks, the class names, and how photos are converted.

    Samples have no label; their masks are separate files. Masks are uint8 class ids for the upright photo, or
    masks.IGNORE.
    """

    train: list[Sample[None]]
    validation: list[Sample[None]]
    class_names: tuple[str, ...]
    spec: InputSpec
    photos: SampleCache[NDArray[np.uint8]]  # uint8 (H, W, 3), the training photos before augmentation
    labels: SampleCache[NDArray[np.uint8]]  # uint8 (H, W), their masks at the same size
    squares: SampleCache[Image.Image]  # the validation photos, resized and padded as in the server
    whole_masks: SampleCache[NDArray[np.uint8]]  # uint8 (H, W), their masks in the original size of the photos
    crops: SampleCache[Image.Image]  # the centre crops of the validation photos, of crop_size
    crop_masks: SampleCache[NDArray[np.uint8]]  # uint8 (crop, crop), the masks of the crops
    sizes: tuple[int, int]  # the numbers of training and validation samples on all hosts
    train_distribution: Distribution
    validation_distribution: Distribution

    def train_batches(self, hp: Hyperparameters) -> Batches[Batch]:
        """Return batches of augmented photos, float32 (N, 3, crop, crop), with labels float32 (N, crop, crop).

        A label is a class id, or IGNORED.
        """
        size, normalise = hp.crop_size, Normalise(self.spec)
        to_label = np.arange(256, dtype=np.float32)
        to_label[IGNORE] = IGNORED

        def make(indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
            images = np.empty((len(indices), 3, size, size), np.float32)
            labels = np.empty((len(indices), size, size), np.float32)
            for row, index in enumerate(indices):
                crop, mask = augment(self.photos[index], self.labels[index], hp.base_size, size, rng)
                normalise(crop, images[row])
                cv2.LUT(mask, to_label, dst=labels[row])
            return images, labels

        shard = self.train_distribution.shard(len(self.train), hp.mini_batch_size)
        return Batches(make, len(self.train), hp.mini_batch_size, hp.seed, shard)

    def crop_tensor(self, index: int) -> NDArray[np.float32]:
        """Return the central square of a validation photo as float32 (3, crop, crop)."""
        crop = self.crops[index]
        pixels = np.empty((3, crop.height, crop.width), np.float32)
        Normalise(self.spec)(np.asarray(crop), pixels)
        return pixels

    def crop_mask(self, index: int) -> NDArray[np.uint8]:
        """Return the mask of `crop_tensor`: uint8 (crop, crop)."""
        return self.crop_masks[index]

    def whole_tensor(self, index: int) -> NDArray[np.float32]:
        """Return a validation photo as float32 (3, S, S): exactly what the server computes from the same bytes."""
        return preprocess.to_tensor(self.squares[index], self.spec)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the upright mask of a validation photo in the photo's original size: uint8 (H, W)."""
        return self.whole_masks[index]


def load(channels: dict[str, Channel], hp: Hyperparameters, peers: Peers = ALONE) -> Data:
    """List, read and check all photos and masks. Raises UserError with the file, the value and the fix."""
    refuse_unsupported(channels)
    require_all(
        channels,
        "annotation",
        "semantic-segmentation trains on 'train' and validates on 'validation', with a PNG mask for each image in "
        "'train_annotation' and 'validation_annotation'",
    )
    names = class_names(channels, ("train_annotation", "label_map", "train"), hp.num_classes, peers)
    sets = {name: _Set(channels, name, hp) for name in ("train", "validation")}
    side, budget = hp.inference_size, samples.memory_budget() // 2
    spec = InputSpec("data", 3, side, side, side, "pad", MEAN, STD)
    train, photos, labels = _read_train(sets["train"], hp, budget)
    train_photos = [sets["train"].photos[index] for index in train]
    train_distribution = distribution.detect(peers, channels["train"], train_photos)
    total = train_distribution.total(len(train))
    samples.check_count(len(train), hp, followed="the number of images", total=total)
    counts = _pixel_counts(sets["train"], train_distribution)
    sets["train"].census.require_classes(counts)
    _log_class_shares("train", counts, hp.num_classes)
    validation, whole, crops = _read_validation(sets["validation"], spec, hp, budget)
    validation_photos = [sets["validation"].photos[index] for index in validation]
    validation_distribution = distribution.detect(peers, channels["validation"], validation_photos)
    counts = _pixel_counts(sets["validation"], validation_distribution)
    _log_class_shares("validation", counts, hp.num_classes)
    return Data(
        train=train_photos,
        validation=validation_photos,
        class_names=names or tuple(str(label) for label in range(hp.num_classes)),
        spec=spec,
        photos=photos,
        labels=labels,
        squares=whole[0],
        whole_masks=whole[1],
        crops=crops[0],
        crop_masks=crops[1],
        sizes=(total, validation_distribution.total(len(validation))),
        train_distribution=train_distribution,
        validation_distribution=validation_distribution,
    )


def _pixel_counts(data_set: "_Set", distribution: Distribution) -> NDArray[np.int64]:
    """Return the number of pixels of each class in the masks of all hosts, int64 (256,)."""
    return np.sum(distribution.gather([data_set.census.classes()]), axis=0)


def _log_class_shares(name: str, counts: NDArray[np.int64], classes: int) -> None:
    """Log the share of each class, from pixel counts int64 (256,); warn about empty classes and ignored pixels."""
    present = np.flatnonzero(counts[:IGNORE])
    shares = 100 * counts / counts.sum()
    commonest = sorted(present[np.argsort(-counts[present], kind="stable")][: samples.MAX_NAMED])
    rarer = len(present) - samples.MAX_NAMED
    more = f" (and {plural(rarer, 'rarer class')})" if rarer > 0 else ""
    classes_text = ", ".join(f"class {label} {shares[label]:.1f} %" for label in commonest)
    LOG.info("Pixels of the %s masks: %s%s, ignored %.1f %%", name, classes_text, more, shares[IGNORE])
    if name == "train":
        samples.warn_of_empty_classes(present, classes, "mask")
    if counts[IGNORE] and len(present) < (classes if name == "train" else 2):
        LOG.warning("pixels with the value 255 in the %s masks are ignored: %s", name, masks.BINARY)


# ---- reading ----------------------------------------------------------------------------------------------------


class _Set:
    """The pairs of photos and masks in one set. A photo and its mask have the same index."""

    def __init__(self, channels: dict[str, Channel], name: str, hp: Hyperparameters) -> None:
        self.name, self._tolerance = name, hp.unreadable_tolerance
        self.photos, self._masks = files.list_pairs(channels, name)
        self._map: LabelMap = masks.load_map(channels.get("label_map"), name, hp.num_classes)
        self.census = Census(f"{name}_annotation", self._map)
        # Filled when a photo is first read, by its name. Masks that are not cached need the frames again later.
        self._frames: dict[str, preprocess.Frame] = {}
        self._misfits: dict[str, str] = {}
        self._repaired: set[str] = set()
        self._counted: set[str] = set()

    def photo_maker(self, make: Callable[[bytes], T]) -> Callable[[int], T]:
        """Return a function from a photo's index to `make(bytes of the file)`."""

        def read(index: int) -> T:
            sample = self.photos[index]
            data = sample.read()
            photo = make(data)
            if sample.name not in self._frames:
                self._frames[sample.name] = preprocess.frame(data)
            return photo

        return read

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return class ids uint8 (H, W) for the upright photo, which must have been read; unrotated if sizes differ."""
        photo, mask = self.photos[index].name, self._masks[index]
        stored, frame = masks.decode(mask.read()), self._frames[photo]
        placed = masks.place(stored.pixels, frame)
        if photo not in self._counted:
            self._counted.add(photo)
            if stored.repaired:
                self._repaired.add(mask.name)
            if placed is not None:
                self.census.add(mask.name, placed)
            else:
                height, width = stored.pixels.shape
                self._misfits[photo] = f"{mask.name} ({width} x {height}, {photo} {frame.width} x {frame.height})"
        return self._map.apply(stored.pixels if placed is None else placed)

    def usable(
        self, photos: SampleCache[T], labels: SampleCache[NDArray[np.uint8]]
    ) -> tuple[list[int], SampleCache[T], SampleCache[NDArray[np.uint8]]]:
        """Read everything once; return the indices of the usable pairs, and both caches with only these.

        Log what is left out or repaired. Raises UserError if more is left out than unreadable_tolerance allows, or if a
        pixel is not a valid class.
        """
        channel = f"{self.name}_annotation"
        readable, photos = samples.select_readable(self.name, self.photos, photos, self._tolerance)
        first = _places(self.photos, readable)
        candidates = [self._masks[index] for index in first]
        readable, labels = samples.select_readable(channel, candidates, labels.select(first), self._tolerance)
        second = _places(candidates, readable)
        fitting = [place for place, index in enumerate(second) if self.photos[first[index]].name not in self._misfits]
        self._log_issues(len(second))
        self.census.check()
        chosen = [second[place] for place in fitting]
        return [first[index] for index in chosen], photos.select(chosen), labels.select(fitting)

    def _log_issues(self, count: int) -> None:
        issues = DataIssues()
        for name in sorted(self._repaired):
            issues.add(f"{self.name}_annotation masks that are colour pictures with R = G = B, read as class ids", name)
        for photo in sorted(self._misfits):
            issues.add(f"{self.name} masks whose size differs from their image, left out", self._misfits[photo])
        issues.log()
        if len(self._misfits) > self._tolerance * count:
            raise UserError(
                f"{len(self._misfits)} of {count} {self.name} masks do not have the size of their image, more than "
                f"unreadable_tolerance={self._tolerance:g} allows: a mask must have the size of its image, "
                f"stored or upright; the first: {'; '.join(list(self._misfits.values())[: samples.MAX_NAMED])}"
            )

    def names(self, indices: Sequence[int]) -> list[str]:
        """Return the names of pairs for messages."""
        return [f"{self.name} image {self.photos[index].name}" for index in indices]


def _places(samples: Sequence[Sample[object]], chosen: Sequence[Sample[object]]) -> list[int]:
    """Return the indices of the chosen samples among all. Names are unique."""
    places = {sample.name: index for index, sample in enumerate(samples)}
    return [places[sample.name] for sample in chosen]


def _nbytes(pixels: NDArray[np.uint8]) -> int:
    return pixels.nbytes


def _read_train(
    data_set: _Set, hp: Hyperparameters, budget: int
) -> tuple[list[int], SampleCache[NDArray[np.uint8]], SampleCache[NDArray[np.uint8]]]:
    limit, photo_budget = max_side(hp.base_size), int(budget * _PHOTOS_FRACTION)
    return data_set.usable(
        SampleCache(data_set.photo_maker(lambda data: _photo(data, limit)), _nbytes, photo_budget),
        SampleCache(lambda index: _reduced(data_set.mask(index), limit), _nbytes, budget - photo_budget),
    )


def _read_validation(
    data_set: _Set, spec: InputSpec, hp: Hyperparameters, budget: int
) -> tuple[list[int], Views, Views]:
    """Return the indices of the usable pairs, their whole photos as the server resizes them, and their centre crops.

    Only the kind that each epoch needs is cached. The other is needed for a few checks, and is read from the files.
    """
    crop, photo_budget = hp.crop_size, int(budget * _PHOTOS_FRACTION)
    whole = data_set.photo_maker(lambda data: preprocess.cut(data, spec)), data_set.mask
    centre = (
        data_set.photo_maker(lambda data: _centre(preprocess.decode(data, 3, crop), crop, Image.Resampling.BILINEAR)),
        lambda index: np.asarray(_centre(Image.fromarray(data_set.mask(index)), crop, Image.Resampling.NEAREST)),
    )
    scored_whole = hp.validation_mini_batch_size == 1
    needed, other = (whole, centre) if scored_whole else (centre, whole)
    chosen, photos, labels = data_set.usable(
        SampleCache(needed[0], samples.image_bytes, photo_budget),
        SampleCache(needed[1], _nbytes, budget - photo_budget),
    )
    cached, names = (photos, labels), data_set.names(chosen)
    uncached = (
        SampleCache(other[0], samples.image_bytes, 0).select(chosen, names),
        SampleCache(other[1], _nbytes, 0).select(chosen, names),
    )
    return (chosen, cached, uncached) if scored_whole else (chosen, uncached, cached)


def _centre(image: Image.Image, side: int, how: Image.Resampling) -> Image.Image:
    """Return the largest central square of an image, resized to `side` x `side` pixels."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    return image.resize((side, side), how, box=(left, top, left + short, top + short))


def _photo(data: bytes, limit: int) -> NDArray[np.uint8]:
    """Decode an image file to uint8 (H, W, 3), with a longer side of at most `limit` pixels."""
    image = preprocess.decode(data, 3, long_side=limit)
    size = _within(preprocess.frame(data).upright, limit)
    return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))


def _reduced(mask: NDArray[np.uint8], limit: int) -> NDArray[np.uint8]:
    """Return a mask uint8 (H, W) in the size of the photo that `_photo` returns."""
    height, width = mask.shape
    size = _within((width, height), limit)
    if size == (width, height):
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _within(size: tuple[int, int], limit: int) -> tuple[int, int]:
    """Return (width, height) reduced to a longer side of at most `limit`, with the same aspect ratio."""
    width, height = size
    long = max(size)
    return size if long <= limit else (max(1, round(width * limit / long)), max(1, round(height * limit / long)))
