"""The data of object-detection: image + JSON and RecordIO channels, class names, and what is fed to the network."""

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
"""A sample's label, (n, 5): class, xmin, ymin, xmax, ymax in fractions of the upright photo; n may be 0."""
Batch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Data:
    """Both sets of readable samples, the names of the classes, and how a photo becomes the network's input."""

    train: list[Sample[Boxes]]
    validation: list[Sample[Boxes]]
    class_names: tuple[str, ...]
    spec: InputSpec
    photos: SampleCache[NDArray[np.uint8]]  # uint8 (H, W, 3), the training photos before augmentation
    squares: SampleCache[Image.Image]  # the validation photos as the server would stretch them
    sizes: tuple[int, int]  # how many samples all hosts train and measure on
    truths: list[Boxes]  # of the validation photos of all hosts, this one's first on the first host
    train_distribution: Distribution
    validation_distribution: Distribution

    def train_batches(self, hp: Hyperparameters, anchors: NDArray[np.float32]) -> Batches[Batch]:
        """Return batches of augmented photos, float32 (N, 3, S, S), with targets of classes (N, A) and boxes (N, A, 4).

        `anchors` are float32 (A, 4): centre x, centre y, width, height in fractions of the input; for the targets see
        `targets.assign`.
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

        share = self.train_distribution.shard(len(self.train), hp.mini_batch_size)
        return Batches(make, len(self.train), hp.mini_batch_size, hp.seed, share)

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (3, S, S): the same numbers that the server makes of the same bytes."""
        return preprocess.to_tensor(self.squares[index], self.spec)


def load(channels: dict[str, Channel], hp: Hyperparameters, peers: Peers = ALONE) -> Data:
    """List, read and check all samples and their boxes. Raises UserError naming the file, the value and the fix."""
    refuse_unsupported(channels)
    require_all(
        channels,
        "annotation",
        "object-detection trains on 'train' and measures on 'validation', with boxes in a .json file for each image in "
        f"'train_annotation' and 'validation_annotation'; RecordIO (ContentType {RECORDIO}) needs the first two alone",
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
    spread = distribution.detect(peers, channels["train"], train)
    measured = distribution.detect(peers, channels["validation"], validation)
    sizes = spread.total(len(train)), measured.total(len(validation))
    samples.check_count(len(train), hp, total=sizes[0])
    labels = spread.gather_rows(np.concatenate([sample.label[:, 0] for sample in train])).astype(int)
    samples.warn_of_empty_classes(labels, hp.num_classes, "box")
    truths = measured.gather([sample.label for sample in validation])
    names = _class_names(channels, listed, hp.num_classes, peers)
    return Data(train, validation, names, spec, photos, squares, sizes, truths, spread, measured)


def _list(channels: dict[str, Channel], name: str, hp: Hyperparameters) -> Listing:
    notes, issues = f"{name}_annotation", DataIssues()
    in_records = is_recordio(channels, name, notes)
    if in_records:
        path = channels[name].only_file(".rec")
        found = annotations.list_records(path, hp)
        if not found.samples:
            raise UserError(f"{channels[name].name_of(path)} holds no records: it needs at least one image")
    else:
        found = annotations.list_files(channels[name], channels[notes], hp, issues)
    issues.log()
    form = "RecordIO" if in_records else "image"
    LOG.info("Channel %s: %s in %s form", name, plural(len(found.samples), "sample"), form)
    return found


def _read(
    name: str, listed: Listing, make: Callable[[bytes], T], size: Callable[[T], int], budget: int, hp: Hyperparameters
) -> tuple[list[Sample[Boxes]], SampleCache[T]]:
    """Make every listed image once; return those that can be used, with their boxes, and what was made of them."""
    frames: dict[str, preprocess.Frame] = {}

    def read(index: int) -> T:
        sample = listed.samples[index]
        data = sample.read()
        made = make(data)
        if sample.name not in frames:  # what memory cannot keep is read again in every epoch
            frames[sample.name] = preprocess.frame(data)
        return made

    every = SampleCache(read, size, budget)
    readable, made = samples.select_readable(name, listed.samples, every, hp.unreadable_tolerance)
    placed = [annotations.place(listed.annotations[sample.name], frames[sample.name]) for sample in readable]
    issues = DataIssues()
    for sample, boxes in zip(readable, placed, strict=True):
        if boxes is None:
            size_given = " x ".join(f"{side:g}" for side in listed.annotations[sample.name].size or ())
            told = f"{sample.name} ({frames[sample.name].width} x {frames[sample.name].height}, not {size_given})"
            issues.add(f"{name} images of another size than their annotation's image_size, left out", told)
    good = [(index, boxes) for index, boxes in enumerate(placed) if boxes is not None]
    labelled = [
        readable[index].labelled(annotations.repair(boxes, f"{name} {readable[index].name}", issues))
        for index, boxes in good
    ]
    issues.log()
    _check(name, labelled, len(readable) - len(good), hp)
    return labelled, made.select([index for index, _ in good])


def _check(name: str, labelled: list[Sample[Boxes]], misfits: int, hp: Hyperparameters) -> None:
    """Raise UserError when too many images do not fit their annotation, or none has a box; count those without."""
    if misfits > hp.unreadable_tolerance * (len(labelled) + misfits):
        raise UserError(
            f"{misfits} of {len(labelled) + misfits} {name} images differ in size from their annotation's image_size, "
            f"more than unreadable_tolerance={hp.unreadable_tolerance:g} allows: annotate the images that are in "
            "the channel, or remove image_size where boxes "
            "are in the stored image's pixels; the log names the first"
        )
    empty = sum(not len(sample.label) for sample in labelled)
    if empty == len(labelled):
        raise UserError(
            f"no {name} image has a box: boxes are in `annotations` of the .json files, or "
            "in the label of the records; the log names those that were dropped"
        )
    if empty:
        LOG.info("%d of %d %s images without a box, kept: all of it is background", empty, len(labelled), name)


def _photo(data: bytes, side: int) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) of an image file, both sides at least `side` where the image has that, below twice it."""
    image = preprocess.decode(data, 3, side)
    times = min(image.size) // side  # what a JPEG's decoder has left of it, and all other formats
    return np.asarray(image.reduce(times) if times > 1 else image)


def _class_names(
    channels: dict[str, Channel], listed: dict[str, Listing], classes: int, peers: Peers
) -> tuple[str, ...]:
    """Return names from the annotations' categories, else from classes.txt, else the numbers."""
    every = [annotation for listing in listed.values() for annotation in listing.annotations.values()]
    categories = list(chain(*peers.gather_json(annotations.categories(every))))
    named = annotations.class_names(categories, classes)
    if named is None and categories:
        LOG.warning(
            "the annotations' categories are not used: they do not give each class from 0 to %d one name", classes - 1
        )
    listed_names = class_names(channels, ("train_annotation", "train"), classes, peers)
    named = named or listed_names
    return named or tuple(str(label) for label in range(classes))
