"""The data of semantic-segmentation: photos with their masks, class names, and what is fed to the network."""

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
from train.semantic_segmentation.augment import augment, largest
from train.semantic_segmentation.hyperparameters import Hyperparameters
from train.semantic_segmentation.masks import IGNORE, Census, LabelMap

T = TypeVar("T")
Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
Views = tuple[SampleCache[Image.Image], SampleCache[NDArray[np.uint8]]]
IGNORED = -1
"""What a pixel that counts in no loss has in a batch's labels."""

# Of a pair in memory the photo has three bytes a pixel and the mask one.
_PHOTOS_SHARE = 0.75


@dataclass(frozen=True)
class Data:
    """Both sets of readable samples with their masks, the names of the classes, and how a photo becomes the input.

    A sample has no label but its mask, a file of its own. Masks are uint8 class ids on the upright photo, masks.IGNORE
    where a pixel does not count.
    """

    train: list[Sample[None]]
    validation: list[Sample[None]]
    class_names: tuple[str, ...]
    spec: InputSpec
    photos: SampleCache[NDArray[np.uint8]]  # uint8 (H, W, 3), the training photos before augmentation
    labels: SampleCache[NDArray[np.uint8]]  # uint8 (H, W), their masks at the same size
    squares: SampleCache[Image.Image]  # the validation photos as the server would fit them
    whole_masks: SampleCache[NDArray[np.uint8]]  # uint8 (H, W), their masks at the photos' own size
    crops: SampleCache[Image.Image]  # the validation photos' centres, crop_size wide and high
    crop_masks: SampleCache[NDArray[np.uint8]]  # uint8 (crop, crop), and the masks of these
    sizes: tuple[int, int]  # how many samples all hosts train and measure on
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

        share = self.train_distribution.shard(len(self.train), hp.mini_batch_size)
        return Batches(make, len(self.train), hp.mini_batch_size, hp.seed, share)

    def crop_tensor(self, index: int) -> NDArray[np.float32]:
        """Return the square in the middle of a validation photo as float32 (3, crop, crop)."""
        crop = self.crops[index]
        pixels = np.empty((3, crop.height, crop.width), np.float32)
        Normalise(self.spec)(np.asarray(crop), pixels)
        return pixels

    def crop_mask(self, index: int) -> NDArray[np.uint8]:
        """Return the mask of `crop_tensor`: uint8 (crop, crop)."""
        return self.crop_masks[index]

    def whole_tensor(self, index: int) -> NDArray[np.float32]:
        """Return a validation photo as float32 (3, S, S): the same numbers that the server makes of the same bytes."""
        return preprocess.to_tensor(self.squares[index], self.spec)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return a validation photo's mask at its own size, upright: uint8 (H, W)."""
        return self.whole_masks[index]


def load(channels: dict[str, Channel], hp: Hyperparameters, peers: Peers = ALONE) -> Data:
    """List, read and check all photos and masks. Raises UserError naming the file, the value and the fix."""
    refuse_unsupported(channels)
    require_all(
        channels,
        "annotation",
        "semantic-segmentation trains on 'train' and measures on 'validation', with a PNG mask for each image in "
        "'train_annotation' and 'validation_annotation'",
    )
    names = class_names(channels, ("train_annotation", "label_map", "train"), hp.num_classes, peers)
    listed = {name: _Set(channels, name, hp) for name in ("train", "validation")}
    side, budget = hp.inference_size, samples.memory_budget() // 2
    spec = InputSpec("data", 3, side, side, side, "pad", MEAN, STD)
    train, photos, labels = _read_train(listed["train"], hp, budget)
    photographed = [listed["train"].photos[index] for index in train]
    spread = distribution.detect(peers, channels["train"], photographed)
    total = spread.total(len(train))
    samples.check_count(len(train), hp, followed="latter", total=total)
    counts = _pixels(listed["train"], spread)
    listed["train"].census.require_classes(counts)
    _tell_classes("train", counts, hp.num_classes)
    validation, whole, crops = _read_validation(listed["validation"], spec, hp, budget)
    measured_on = [listed["validation"].photos[index] for index in validation]
    measured = distribution.detect(peers, channels["validation"], measured_on)
    _tell_classes("validation", _pixels(listed["validation"], measured), hp.num_classes)
    return Data(
        train=photographed,
        validation=measured_on,
        class_names=names or tuple(str(label) for label in range(hp.num_classes)),
        spec=spec,
        photos=photos,
        labels=labels,
        squares=whole[0],
        whole_masks=whole[1],
        crops=crops[0],
        crop_masks=crops[1],
        sizes=(total, measured.total(len(validation))),
        train_distribution=spread,
        validation_distribution=measured,
    )


def _pixels(found: "_Set", spread: Distribution) -> NDArray[np.int64]:
    """Return how many pixels of all hosts' masks each class has, int64 (256,)."""
    return np.sum(spread.gather([found.census.classes()]), axis=0)


def _tell_classes(name: str, counts: NDArray[np.int64], classes: int) -> None:
    """Log how many pixels of a set each class has, int64 (256,); warn of classes without any and of ignored ones."""
    present = np.flatnonzero(counts[:IGNORE])
    shares = 100 * counts / counts.sum()
    commonest = sorted(present[np.argsort(-counts[present], kind="stable")][: samples.MAX_NAMED])
    rarer = len(present) - samples.MAX_NAMED
    more = f" (and {plural(rarer, 'rarer class')})" if rarer > 0 else ""
    told = ", ".join(f"class {label} {shares[label]:.1f} %" for label in commonest)
    LOG.info("Pixels of the %s masks: %s%s, ignored %.1f %%", name, told, more, shares[IGNORE])
    if name == "train":
        samples.warn_of_empty_classes(present, classes, "mask")
    if counts[IGNORE] and len(present) < (classes if name == "train" else 2):
        LOG.warning("pixels of the value 255 in the %s masks are ignored: %s", name, masks.BINARY)


# ---- reading ----------------------------------------------------------------------------------------------------


class _Set:
    """One set's paired files as they are read; photos and masks have the same indices, those of the pairs."""

    def __init__(self, channels: dict[str, Channel], name: str, hp: Hyperparameters) -> None:
        self.name, self._tolerance = name, hp.unreadable_tolerance
        self.photos, self._masks = files.list_pairs(channels, name)
        self._map: LabelMap = masks.load_map(channels.get("label_map"), name, hp.num_classes)
        self.census = Census(f"{name}_annotation", self._map)
        # What the first reading finds, by the photo's name; a later one, of what memory cannot keep, needs the frames.
        self._frames: dict[str, preprocess.Frame] = {}
        self._misfits: dict[str, str] = {}
        self._repaired: set[str] = set()
        self._counted: set[str] = set()

    def photo_maker(self, make: Callable[[bytes], T]) -> Callable[[int], T]:
        """Return what makes a photo of its index, by `make` out of the file's bytes."""

        def read(index: int) -> T:
            sample = self.photos[index]
            data = sample.read()
            made = make(data)
            if sample.name not in self._frames:
                self._frames[sample.name] = preprocess.frame(data)
            return made

        return read

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the class ids uint8 (H, W) on the upright photo, which has been read; misfits as they are stored."""
        photo, note = self.photos[index].name, self._masks[index]
        stored, frame = masks.decode(note.read()), self._frames[photo]
        placed = masks.place(stored.pixels, frame)
        if photo not in self._counted:
            self._counted.add(photo)
            if stored.repaired:
                self._repaired.add(note.name)
            if placed is not None:
                self.census.add(note.name, placed)
            else:
                height, width = stored.pixels.shape
                self._misfits[photo] = f"{note.name} ({width} x {height}, {photo} {frame.width} x {frame.height})"
        return self._map.apply(stored.pixels if placed is None else placed)

    def usable(
        self, photos: SampleCache[T], notes: SampleCache[NDArray[np.uint8]]
    ) -> tuple[list[int], SampleCache[T], SampleCache[NDArray[np.uint8]]]:
        """Read all once and return the indices of the pairs that can be used, and both Memories for these alone.

        Logs what is left out or repaired. Raises UserError when that is more than unreadable_tolerance allows, and for
        pixels that are no class.
        """
        channel = f"{self.name}_annotation"
        readable, photos = samples.select_readable(self.name, self.photos, photos, self._tolerance)
        first = _places(self.photos, readable)
        beside = [self._masks[index] for index in first]
        readable, notes = samples.select_readable(channel, beside, notes.select(first), self._tolerance)
        second = _places(beside, readable)
        fitting = [place for place, index in enumerate(second) if self.photos[first[index]].name not in self._misfits]
        self._tell(len(second))
        self.census.check()
        chosen = [second[place] for place in fitting]
        return [first[index] for index in chosen], photos.select(chosen), notes.select(fitting)

    def _tell(self, count: int) -> None:
        issues = DataIssues()
        for name in sorted(self._repaired):
            issues.add(f"{self.name}_annotation masks that are colour pictures with R = G = B, read as class ids", name)
        for photo in sorted(self._misfits):
            issues.add(f"{self.name} masks of another size than their image, left out", self._misfits[photo])
        issues.log()
        if len(self._misfits) > self._tolerance * count:
            raise UserError(
                f"{len(self._misfits)} of {count} {self.name} masks differ in size from their image, more than "
                f"unreadable_tolerance={self._tolerance:g} allows: a mask needs its image's width and height, as it is "
                f"stored or upright; the first: {'; '.join(list(self._misfits.values())[: samples.MAX_NAMED])}"
            )

    def names(self, indices: Sequence[int]) -> list[str]:
        """Return pairs as messages name them."""
        return [f"{self.name} image {self.photos[index].name}" for index in indices]


def _places(every: Sequence[Sample[object]], chosen: Sequence[Sample[object]]) -> list[int]:
    """Return where the chosen samples are among all; their names are unique."""
    places = {sample.name: index for index, sample in enumerate(every)}
    return [places[sample.name] for sample in chosen]


def _nbytes(pixels: NDArray[np.uint8]) -> int:
    return pixels.nbytes


def _read_train(
    found: _Set, hp: Hyperparameters, budget: int
) -> tuple[list[int], SampleCache[NDArray[np.uint8]], SampleCache[NDArray[np.uint8]]]:
    limit, share = largest(hp.base_size), int(budget * _PHOTOS_SHARE)
    return found.usable(
        SampleCache(found.photo_maker(lambda data: _photo(data, limit)), _nbytes, share),
        SampleCache(lambda index: _reduced(found.mask(index), limit), _nbytes, budget - share),
    )


def _read_validation(found: _Set, spec: InputSpec, hp: Hyperparameters, budget: int) -> tuple[list[int], Views, Views]:
    """Return the indices of the pairs to measure on, these whole as the server fits them, and their centres.

    Only those that the epochs need are kept in memory; the others, for a few checks, are made from the files.
    """
    crop, share = hp.crop_size, int(budget * _PHOTOS_SHARE)
    whole = found.photo_maker(lambda data: preprocess.cut(data, spec)), found.mask
    centre = (
        found.photo_maker(lambda data: _centre(preprocess.decode(data, 3, crop), crop, Image.Resampling.BILINEAR)),
        lambda index: np.asarray(_centre(Image.fromarray(found.mask(index)), crop, Image.Resampling.NEAREST)),
    )
    scored_whole = hp.validation_mini_batch_size == 1
    needed, other = (whole, centre) if scored_whole else (centre, whole)
    chosen, photos, notes = found.usable(
        SampleCache(needed[0], samples.image_bytes, share), SampleCache(needed[1], _nbytes, budget - share)
    )
    kept, names = (photos, notes), found.names(chosen)
    made = (
        SampleCache(other[0], samples.image_bytes, 0).select(chosen, names),
        SampleCache(other[1], _nbytes, 0).select(chosen, names),
    )
    return (chosen, kept, made) if scored_whole else (chosen, made, kept)


def _centre(image: Image.Image, side: int, how: Image.Resampling) -> Image.Image:
    """Return the square in the middle of an image, as wide as its shorter side, at `side` x `side` pixels."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    return image.resize((side, side), how, box=(left, top, left + short, top + short))


def _photo(data: bytes, limit: int) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) of an image file, its longer side `limit` pixels at most."""
    image = preprocess.decode(data, 3, long_side=limit)
    size = _within(preprocess.frame(data).upright, limit)
    return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))


def _reduced(mask: NDArray[np.uint8], limit: int) -> NDArray[np.uint8]:
    """Return a mask uint8 (H, W) at the size at which `_photo` gives its photo."""
    height, width = mask.shape
    size = _within((width, height), limit)
    if size == (width, height):
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _within(size: tuple[int, int], limit: int) -> tuple[int, int]:
    """Return (width, height) with the aspect kept and the longer side `limit` at most."""
    width, height = size
    long = max(size)
    return size if long <= limit else (max(1, round(width * limit / long)), max(1, round(height * limit / long)))
