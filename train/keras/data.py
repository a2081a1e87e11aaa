"""The data of the Keras classifiers: class folders or image-classification's channels, and its batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.machine import cpu_count
from train.classification import folders, labelled
from train.data import distribution, lst, samples
from train.data.channels import RECORDIO, Channel, refuse_unsupported, require_all
from train.data.samples import ALL, Sample, SampleCache, Shard
from train.errors import UserError
from train.job.peers import ALONE, Peers
from train.keras.augment import Augment
from train.keras.hyperparameters import KerasHyperparameters

H = TypeVar("H", bound=KerasHyperparameters)
Batch = tuple[NDArray[np.uint8] | NDArray[np.float32], NDArray[np.int64]]
_AHEAD = 4  # batches

# The network scales pixels itself, so its input is the pixels, 0 to 255: (p / 255 - 0) / (1 / 255).
_MEAN, _STD = 0.0, 1 / 255


@dataclass(frozen=True)
class Data:
    """Both sets of readable samples, each cut as the server would cut it, and the names of the classes."""

    train: list[Sample[int]]
    validation: list[Sample[int]]
    class_names: tuple[str, ...]
    spec: InputSpec
    train_crops: SampleCache[Image.Image]
    validation_crops: SampleCache[Image.Image]

    @property
    def sizes(self) -> tuple[int, int]:
        """How many samples are trained and measured on; all hosts have all of them."""
        return len(self.train), len(self.validation)

    def train_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (C, H, W), pixels from 0 to 255, without augmentation."""
        return preprocess.to_tensor(self.train_crops[index], self.spec)

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (C, H, W): the same numbers that the server makes of the same bytes."""
        return preprocess.to_tensor(self.validation_crops[index], self.spec)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Return a training photo, uint8 (H, W, C)."""
        crop = self.train_crops[index]
        return np.asarray(crop).reshape(crop.height, crop.width, self.spec.channels)


def load(channels: dict[str, Channel], hp: H, peers: Peers = ALONE) -> tuple[Data, H]:
    """List, read and check all samples; return them, and `hp` with the number of classes. All hosts have all of them.

    Raises UserError naming the file, the line and the fix.
    """
    refuse_unsupported(channels)
    if labelled.has_labels(channels):
        found = _labelled(channels, hp)
    else:
        found = folders.list_samples(channels, hp.num_classes, hp.validation_split, hp.seed)
    hp = hp.replace(num_classes=len(found.class_names))
    spec = _input_spec(hp)
    budget, tolerance = samples.memory_budget() // 2, hp.unreadable_tolerance
    train, train_crops = labelled.readable_crops("train", found.train, spec, tolerance, budget)
    validation, validation_crops = labelled.readable_crops("validation", found.validation, spec, tolerance, budget)
    for found_in, each in (("train", train), ("validation", validation)):
        if distribution.detect(peers, channels.get(found_in) or folders.main_channel(channels), each).sharded:
            raise UserError(
                f"the channel of the {found_in} images is ShardedByS3Key, and TensorFlow trains on several hosts with "
                "all images on each: set its distribution to FullyReplicated"
            )
    samples.check_count(len(train), hp, followed="latter")
    samples.warn_of_empty_classes(labelled.stack_labels(train), len(found.class_names), "image")
    return Data(train, validation, found.class_names, spec, train_crops, validation_crops), hp


def _labelled(channels: dict[str, Channel], hp: KerasHyperparameters) -> folders.FolderSamples:
    require_all(
        channels,
        "lst",
        "with labels in .lst files the job trains on 'train' and measures on 'validation', and they lie in 'train_lst' "
        f"and 'validation_lst'; RecordIO (ContentType {RECORDIO}) needs the first two alone; class folders need one "
        "channel, 'training'",
    )
    if hp.num_classes is None:
        raise UserError(
            "hyperparameter num_classes is required with .lst files or RecordIO: set it to the number of classes, "
            "whose labels are 0 to num_classes - 1; only class folders need none"
        )
    found = {
        name: labelled.list_samples(channels, name, hp.num_classes, hp.resize, lst.class_id)
        for name in ("train", "validation")
    }
    names = labelled.find_class_names(channels, found["train"], hp.num_classes)
    return folders.FolderSamples(found["train"], found["validation"], names)


def _input_spec(hp: KerasHyperparameters) -> InputSpec:
    channels, height, width = hp.image_shape
    scale = (_MEAN,) * channels, (_STD,) * channels
    return InputSpec("data", channels, height, width, hp.resize, hp.inference_resize, *scale)


class PixelBatches:
    """Batches of photos: (uint8 or float32 (N, H, W, C), labels int64 (N,)), augmented, made ahead by tf.data.

    Every epoch is a new order of all samples; the last batch is filled up from the epoch's beginning. N is
    mini_batch_size, or this host's share of it.
    """

    def __init__(self, data: Data, hp: KerasHyperparameters, share: Shard = ALL) -> None:
        self._data, self._seed, self._share = data, hp.seed, share
        self._count, self._size = len(data.train), hp.mini_batch_size // share.hosts
        self._labels = labelled.stack_labels(data.train)
        self._augment = Augment(hp.horizontal_flip, hp.zoom_range, hp.rotation_range)
        self._failure: UserError | None = None

    def __len__(self) -> int:
        return self._share.count(self._count, self._size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of one epoch; the same seed and `number` give the same ones. Raises UserError."""
        order = np.random.default_rng((self._seed, number)).permutation(self._count)
        filled = self._share.indices(order, self._size)
        rng = np.random.default_rng((self._seed, number, 1 + self._share.rank))
        seeds = rng.integers(0, 2**31 - 1, (len(self), 2), np.int32)
        dataset = tf.data.Dataset.from_tensor_slices((filled, seeds, self._labels[filled]))
        dataset = dataset.map(self._make, num_parallel_calls=cpu_count(), deterministic=True).prefetch(_AHEAD)
        try:
            yield from dataset.as_numpy_iterator()
            return
        except tf.errors.OpError:
            if self._failure is None:
                raise
        # Outside of the block, so that nothing keeps TensorFlow's error, its frames and in them the iterator: at the
        # end of the process that would wait for its reading threads, which get no turn any more.
        raise self._failure

    def _make(self, indices: tf.Tensor, seed: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spec = self._data.spec
        photos = tf.ensure_shape(
            tf.numpy_function(self._read, [indices], tf.uint8), (self._size, spec.height, spec.width, spec.channels)
        )
        return self._augment(photos, seed), labels

    def _read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        try:
            return np.stack([self._data.pixels(index) for index in indices])
        except UserError as error:  # TensorFlow would wrap it in its own words
            self._failure = error
            raise


def augments(hp: KerasHyperparameters) -> bool:
    """Return whether a photo changes from epoch to epoch."""
    return bool(hp.horizontal_flip or hp.zoom_range or hp.rotation_range)


def feature_batches(
    features: NDArray[np.float32], data: Data, hp: KerasHyperparameters, share: Shard = ALL
) -> samples.Batches[Batch]:
    """Return batches of (rows of `features`, one for each training sample, labels int64 (N,)), this host's share."""
    labels = labelled.stack_labels(data.train)

    def make(indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        return features[indices], labels[indices]

    return samples.Batches(make, len(labels), hp.mini_batch_size // share.hosts, hp.seed, share)
