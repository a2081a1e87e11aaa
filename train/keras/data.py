"""The data of the Keras classifiers, from class folders or image-classification's channels, and its batches."""

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

# The network takes pixels from 0 to 255 and scales them itself: (p / 255 - 0) / (1 / 255) = p.
_MEAN, _STD = 0.0, 1 / 255


@dataclass(frozen=True)
class Data:
    """The readable training and validation samples, their crops as in the server, and the class names."""

    train: list[Sample[int]]
    validation: list[Sample[int]]
    class_names: tuple[str, ...]
    spec: InputSpec
    train_crops: SampleCache[Image.Image]
    validation_crops: SampleCache[Image.Image]

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of training and validation samples. All hosts have all samples."""
        return len(self.train), len(self.validation)

    def train_tensor(self, index: int) -> NDArray[np.float32]:
        """Return a training image without augmentation, float32 (C, H, W) from 0 to 255."""
        return preprocess.to_tensor(self.train_crops[index], self.spec)

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return a validation image, float32 (C, H, W), identical to the server's tensor for the same bytes."""
        return preprocess.to_tensor(self.validation_crops[index], self.spec)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Return a training image, uint8 (H, W, C)."""
        crop = self.train_crops[index]
        return np.asarray(crop).reshape(crop.height, crop.width, self.spec.channels)


def load(channels: dict[str, Channel], hp: H, peers: Peers = ALONE) -> tuple[Data, H]:
    """List, read and check all samples. Return them, and `hp` with the number of classes.

    Raises a UserError that names the file, the line and the fix.
    """
    refuse_unsupported(channels)
    if labelled.has_labels(channels):
        listed = _labelled(channels, hp)
    else:
        listed = folders.list_samples(channels, hp.num_classes, hp.validation_split, hp.seed)
    hp = hp.replace(num_classes=len(listed.class_names))
    spec = _input_spec(hp)
    budget, tolerance = samples.memory_budget() // 2, hp.unreadable_tolerance
    train, train_crops = labelled.readable_crops("train", listed.train, spec, tolerance, budget)
    validation, validation_crops = labelled.readable_crops("validation", listed.validation, spec, tolerance, budget)
    for part, part_samples in (("train", train), ("validation", validation)):
        channel = channels.get(part) or folders.main_channel(channels)
        if distribution.detect(peers, channel, part_samples).sharded:
            raise UserError(
                f"the channel of the {part} images is ShardedByS3Key, but TensorFlow needs all images on each host: "
                "set its distribution to FullyReplicated"
            )
    samples.check_count(len(train), hp, followed="the number of images")
    samples.warn_of_empty_classes(labelled.stack_labels(train), len(listed.class_names), "image")
    return Data(train, validation, listed.class_names, spec, train_crops, validation_crops), hp


def _labelled(channels: dict[str, Channel], hp: KerasHyperparameters) -> folders.FolderSamples:
    require_all(
        channels,
        "lst",
        "for labels in .lst files, the images are in 'train' and 'validation', and the .lst files in 'train_lst' and "
        f"'validation_lst'; RecordIO (ContentType {RECORDIO}) needs only the first two; class folders need one "
        "channel, 'training'",
    )
    if hp.num_classes is None:
        raise UserError(
            "hyperparameter num_classes is required with .lst files or RecordIO: set it to the number of classes, "
            "whose labels are 0 to num_classes - 1; it is optional only with class folders"
        )
    listed = {
        name: labelled.list_samples(channels, name, hp.num_classes, hp.resize, lst.class_id)
        for name in ("train", "validation")
    }
    names = labelled.find_class_names(channels, listed["train"], hp.num_classes)
    return folders.FolderSamples(listed["train"], listed["validation"], names)


def _input_spec(hp: KerasHyperparameters) -> InputSpec:
    channels, height, width = hp.image_shape
    scale = (_MEAN,) * channels, (_STD,) * channels
    return InputSpec("data", channels, height, width, hp.resize, hp.inference_resize, *scale)


class PixelBatches:
    """Augmented batches of photos, uint8 (N, H, W, C), with labels, int64 (N,), prefetched by tf.data.

    Samples are shuffled in every epoch. The last batch is filled with the epoch's first samples. N is mini_batch_size,
    or this host's share of it.
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
        """Yield the batches of an epoch. The same seed and `number` give the same batches. Raises UserError."""
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
        # Raised outside the except block, because the exception context would keep TensorFlow's iterator alive. At
        # process exit, the iterator would then wait forever for its reader threads.
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
        except UserError as error:  # TensorFlow would raise a different error
            self._failure = error
            raise


def augments(hp: KerasHyperparameters) -> bool:
    """Return whether photos change between epochs."""
    return bool(hp.horizontal_flip or hp.zoom_range or hp.rotation_range)


def feature_batches(
    features: NDArray[np.float32], data: Data, hp: KerasHyperparameters, share: Shard = ALL
) -> samples.Batches[Batch]:
    """Return this host's share of the batches: rows of `features`, one per sample, and labels, int64 (N,)."""
    labels = labelled.stack_labels(data.train)

    def make(indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        return features[indices], labels[indices]

    return samples.Batches(make, len(labels), hp.mini_batch_size // share.hosts, hp.seed, share)
