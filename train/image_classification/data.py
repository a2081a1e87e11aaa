"""Load the data of image-classification and make batches for the network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from train.classification import labelled, metrics
from train.classification.labelled import Label, stack_labels
from train.classification.metrics import Labels
from train.data import distribution, lst, samples
from train.data.channels import RECORDIO, Channel, refuse_unsupported, require_all
from train.data.distribution import Distribution
from train.data.lst import LabelReader
from train.data.pixels import GREY_MEAN, GREY_STD, MEAN, STD, Normalise
from train.data.samples import Batches, Sample, SampleCache
from train.errors import UserError
from train.image_classification.augment import augment
from train.image_classification.hyperparameters import Hyperparameters
from train.job.peers import ALONE, Peers

Batch = tuple[NDArray[np.float32], Labels]


@dataclass(frozen=True)
class AllLabels:
    """The labels of the samples on all hosts, int64 (N,) or float32 (N, K)."""

    train: Labels
    validation: Labels


@dataclass(frozen=True)
class Data:
    """The readable training and validation samples, the class names, and how photos are converted to input."""

    train: list[Sample[Label]]
    validation: list[Sample[Label]]
    class_names: tuple[str, ...]
    spec: InputSpec
    photos: SampleCache[NDArray[np.uint8]]  # (H, W, C), the training photos before augmentation
    crops: SampleCache[Image.Image]  # the validation photos, cropped as in the server
    labels: AllLabels
    train_distribution: Distribution
    validation_distribution: Distribution

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of training and validation samples on all hosts."""
        return len(self.labels.train), len(self.labels.validation)

    def train_batches(self, hp: Hyperparameters) -> Batches[Batch]:
        """Return augmented batches: images float32 (N, C, H, W), and labels int64 (N,) or float32 (N, K)."""
        labels = stack_labels(self.train)
        normalise = Normalise(self.spec)

        def make(indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
            out = np.empty((len(indices), self.spec.channels, self.spec.height, self.spec.width), np.float32)
            for row, index in enumerate(indices):
                crop = augment(self.photos[index], self.spec.height, self.spec.width, hp.augmentation_type, rng)
                normalise(crop, out[row])
            return out, labels[indices]

        shard = self.train_distribution.shard(len(self.train), hp.mini_batch_size)
        return Batches(make, len(self.train), hp.mini_batch_size, hp.seed, shard)

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (C, H, W): exactly what the server computes from the same bytes."""
        return preprocess.to_tensor(self.crops[index], self.spec)


def load(channels: dict[str, Channel], hp: Hyperparameters, peers: Peers = ALONE) -> Data:
    """List, read and check all samples. Raises UserError with the file, the line and the fix."""
    refuse_unsupported(channels)
    require_all(
        channels,
        "lst",
        "image-classification trains on 'train' and validates on 'validation', with labels in a .lst file in "
        f"'train_lst' and 'validation_lst'; RecordIO (ContentType {RECORDIO}) needs only the first two",
    )
    label: LabelReader[Label] = lst.multi_hot if hp.multi_label else lst.class_id
    listed = {
        name: labelled.list_samples(channels, name, hp.num_classes, hp.resize, label)
        for name in ("train", "validation")
    }
    budget = samples.memory_budget()
    train, photos = _training_photos(listed["train"], hp, budget // 2)
    spec = _input_spec(hp, peers.gather_json(_side(hp, photos, len(train)))[0])
    validation, crops = labelled.readable_crops(
        "validation", listed["validation"], spec, hp.unreadable_tolerance, budget // 2
    )
    train_distribution = distribution.detect(peers, channels["train"], train)
    validation_distribution = distribution.detect(peers, channels["validation"], validation)
    samples.check_count(len(train), hp, total=train_distribution.total(len(train)))
    labels = AllLabels(
        train=train_distribution.gather_rows(stack_labels(train)),
        validation=validation_distribution.gather_rows(stack_labels(validation)),
    )
    if metrics.one_class_each(labels.train):
        samples.warn_of_empty_classes(labels.train, hp.num_classes, "image")
    names = labelled.find_class_names(channels, listed["train"], hp.num_classes, peers)
    return Data(train, validation, names, spec, photos, crops, labels, train_distribution, validation_distribution)


def _training_photos(
    listed: list[Sample[Label]], hp: Hyperparameters, budget: int
) -> tuple[list[Sample[Label]], SampleCache[NDArray[np.uint8]]]:
    (channels, height, width), resize = hp.image_shape, hp.resize

    def decode(sample: Sample[object]) -> NDArray[np.uint8]:
        image = preprocess.decode(sample.read(), channels, resize and max(resize, height, width))
        if resize is not None:
            image = preprocess.cover(image, resize, height, width)
        elif image.width < width or image.height < height:
            raise UserError(
                f"{sample.name} is {image.width} x {image.height} pixels, smaller than "
                f"image_shape={hp.image_shape}: set resize to enlarge all photos, or remove this photo"
            )
        return np.asarray(image).reshape(image.height, image.width, channels)

    cache = SampleCache(lambda i: decode(listed[i]), lambda photo: photo.nbytes, budget)
    return samples.select_readable("train", listed, cache, hp.unreadable_tolerance)


def _side(hp: Hyperparameters, photos: SampleCache[NDArray[np.uint8]], count: int) -> int:
    """Return the shorter side of resized photos in serving: `resize`, or the median of up to 101 training photos."""
    if hp.resize is not None:
        return hp.resize
    chosen = samples.evenly_spaced(count, 101)
    return max(min(hp.image_shape[1:]), int(np.median([min(photos[i].shape[:2]) for i in chosen])))


def _input_spec(hp: Hyperparameters, resize: int) -> InputSpec:
    channels, height, width = hp.image_shape
    mean, std = (MEAN, STD) if channels == 3 else (GREY_MEAN, GREY_STD)
    return InputSpec("data", channels, height, width, resize, hp.inference_resize, mean, std)
