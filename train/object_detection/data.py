"""Load the data of object-detection, from image + JSON or RecordIO channels, and make batches."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.words import plural
from train.data import distribution, samples
from train.data.channels import RECORDIO, Channel, class_names, is_recordio, refuse_unsupported, require_all
from train.data.distribution import Distribution
from train.data.pixels import MEAN, STD, Normalise
from train.data.samples import Batches, DataIssues, Sample, SampleCache
from train.errors import UserError
from train.job.peers import ALONE, Peers
from train.log import LOG
from train.object_detection import annotations
from train.object_detection.annotations import Listing
from train.object_detection.augment import augment
from train.object_detection.hyperparameters import Hyperparameters
from train.object_detection.targets import assign

T = TypeVar("T")
Boxes = NDArray[np.float32]
"""The label of a sample, (n, 5): class, xmin, ymin, xmax, ymax in fractions of the upright photo. n may be 0."""
Batch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Data:
    """The readable training and validation samples, the class names, and how photos are converted to input."""

    train: list[Sample[Boxes]]
    validation: list[Sample[Boxes]]
    class_names: tuple[str, ...]
    spec: InputSpec
    photos: SampleCache[NDArray[np.uint8]]  # uint8 (H, W, 3), the training photos before augmentation
    squares: SampleCache[Image.Image]  # the validation photos, stretched as in the server
    sizes: tuple[int, int]  # the numbers of training and validation samples on all hosts
    truths: list[Boxes]  # of the validation photos of all hosts, in order of rank
    train_distribution: Distribution
    validation_distribution: Distribution

    def train_batches(self, hp: Hyperparameters, anchors: NDArray[np.float32]) -> Batches[Batch]:
        """Return batches of augmented photos, float32 (N, 3, S, S), with class (N, A) and box (N, A, 4) targets.

        `anchors` are float32 (A, 4): centre x, centre y, width, height in fractions of the input. See `targets.assign`
        for the targets.
        """
        side, normalise = self.spec.height, Normalise(self.spec)

        def make(indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
            images = np.empty((len(indices), 3, side, side), np.float32)
            classes = np.empty((len(indices), len(anchors)), np.float32)
            offsets = np.empty((len(indices), len(anchors), 4), np.float32)
            for row, index in enumerate(indices):
                crop, boxes = augment(self.photos[index], self.train[index].label, side, rng)
                normalise(crop, images[row])
                classes[row], offsets[row] = assign(anchors, boxes)
            return images, classes, offsets

        shard = self.train_distribution.shard(len(self.train), hp.mini_batch_size)
        return Batches(make, len(self.train), hp.mini_batch_size, hp.seed, shard)

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (3, S, S): exactly what the server computes from the same bytes."""
        return preprocess.to_tensor(self.squares[index], self.spec)


def load(channels: dict[str, Channel], hp: Hyperparameters, peers: Peers = ALONE) -> Data:
    """List, read and check all samples and their boxes. Raises UserError with the file, the value and the fix."""
    refuse_unsupported(channels)
    require_all(
        channels,
        "annotation",
        "object-detection trains on 'train' and validates on 'validation', with boxes in a .json file per image in "
        f"'train_annotation' and 'validation_annotation'; RecordIO (ContentType {RECORDIO}) needs only the first two",
    )
    listed = {name: _list(channels, name, hp) for name in ("train", "validation")}
    budget, side = samples.memory_budget() // 2, hp.image_shape
    spec = InputSpec("data", 3, side, side, side, "stretch", MEAN, STD)
    train, photos = _read(
        "train", listed["train"], lambda data: _photo(data, side), lambda photo: photo.nbytes, budget, hp
    )
    validation, squares = _read(
        "validation", listed["validation"], lambda data: preprocess.cut(data, spec), samples.image_bytes, budget, hp
    )
    train_distribution = distribution.detect(peers, channels["train"], train)
    validation_distribution = distribution.detect(peers, channels["validation"], validation)
    sizes = train_distribution.total(len(train)), validation_distribution.total(len(validation))
    samples.check_count(len(train), hp, total=sizes[0])
    labels = train_distribution.gather_rows(np.concatenate([sample.label[:, 0] for sample in train])).astype(int)
    samples.warn_of_empty_classes(labels, hp.num_classes, "box")
    truths = validation_distribution.gather([sample.label for sample in validation])
    names = _class_names(channels, listed, hp.num_classes, peers)
    return Data(
        train=train,
        validation=validation,
        class_names=names,
        spec=spec,
        photos=photos,
        squares=squares,
        sizes=sizes,
        truths=truths,
        train_distribution=train_distribution,
        validation_distribution=validation_distribution,
    )


def _list(channels: dict[str, Channel], name: str, hp: Hyperparameters) -> Listing:
    labels, issues = f"{name}_annotation", DataIssues()
    in_records = is_recordio(channels, name, labels)
    if in_records:
        path = channels[name].only_file(".rec")
        listing = annotations.list_records(path, hp)
        if not listing.samples:
            raise UserError(f"{channels[name].name_of(path)} holds no records: it needs at least one image")
    else:
        listing = annotations.list_files(channels[name], channels[labels], hp, issues)
    issues.log()
    form = "RecordIO" if in_records else "image"
    LOG.info("Channel %s: %s in %s form", name, plural(len(listing.samples), "sample"), form)
    return listing


def _read(
    name: str, listing: Listing, make: Callable[[bytes], T], size: Callable[[T], int], budget: int, hp: Hyperparameters
) -> tuple[list[Sample[Boxes]], SampleCache[T]]:
    """Read every listed image once; return the usable samples with their boxes, and a cache of what `make` returned."""
    frames: dict[str, preprocess.Frame] = {}

    def read(index: int) -> T:
        sample = listing.samples[index]
        data = sample.read()
        value = make(data)
        if sample.name not in frames:  # a photo that is not cached is read again in every epoch
            frames[sample.name] = preprocess.frame(data)
        return value

    cache = SampleCache(read, size, budget)
    readable, cache = samples.select_readable(name, listing.samples, cache, hp.unreadable_tolerance)
    placed = [annotations.place(listing.annotations[sample.name], frames[sample.name]) for sample in readable]
    issues = DataIssues()
    for sample, boxes in zip(readable, placed, strict=True):
        if boxes is None:
            image_size = " x ".join(f"{side:g}" for side in listing.annotations[sample.name].size or ())
            details = f"{sample.name} ({frames[sample.name].width} x {frames[sample.name].height}, not {image_size})"
            issues.add(f"{name} images whose size differs from their annotation's image_size, left out", details)
    good = [(index, boxes) for index, boxes in enumerate(placed) if boxes is not None]
    labelled = [
        readable[index].labelled(annotations.repair(boxes, f"{name} {readable[index].name}", issues))
        for index, boxes in good
    ]
    issues.log()
    _check(name, labelled, len(readable) - len(good), hp)
    return labelled, cache.select([index for index, _ in good])


def _check(name: str, labelled: list[Sample[Boxes]], misfits: int, hp: Hyperparameters) -> None:
    """Raise UserError if too many images (`misfits`) differ in size from their annotation, or none has a box."""
    if misfits > hp.unreadable_tolerance * (len(labelled) + misfits):
        raise UserError(
            f"{misfits} of {len(labelled) + misfits} {name} images differ in size from their annotation's image_size, "
            f"more than unreadable_tolerance={hp.unreadable_tolerance:g} allows: annotate the images in the "
            "channel, or remove image_size if the boxes are in pixels of the stored image; the log lists the first ten"
        )
    empty = sum(not len(sample.label) for sample in labelled)
    if empty == len(labelled):
        raise UserError(
            f"no {name} image has a box: put boxes into `annotations` of the .json files, or into the labels of the "
            "records; the log lists the boxes that were dropped"
        )
    if empty:
        LOG.info("%d of %d %s images have no box and are kept as background", empty, len(labelled), name)


def _photo(data: bytes, side: int) -> NDArray[np.uint8]:
    """Decode an image to uint8 (H, W, 3); if larger than `side`, reduce its shorter side to 1 to 2 times `side`."""
    image = preprocess.decode(data, 3, side)
    times = min(image.size) // side  # a JPEG may already be reduced by its decoder
    return np.asarray(image.reduce(times) if times > 1 else image)


def _class_names(
    channels: dict[str, Channel], listings: dict[str, Listing], classes: int, peers: Peers
) -> tuple[str, ...]:
    """Return the names in the annotations' categories, else in classes.txt, else the numbers."""
    local = [annotation for listing in listings.values() for annotation in listing.annotations.values()]
    categories = list(chain(*peers.gather_json(annotations.categories(local))))
    named = annotations.class_names(categories, classes)
    if named is None and categories:
        LOG.warning(
            "the annotations' categories are not used: they do not have exactly one name for each class from 0 to %d",
            classes - 1,
        )
    from_file = class_names(channels, ("train_annotation", "train"), classes, peers)  # all hosts must call it
    return named or from_file or tuple(str(label) for label in range(classes))
