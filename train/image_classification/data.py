"""The data of image-classification: what is fed to the network, and how a photo becomes it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from train.classification import labelled, metrics
from train.classification.labelled import Label, stack_labels
from train.classification.metrics import Labels
from train.data import lst, samples
from train.data.channels import RECORDIO, Channel, refuse_unbuilt, require_all
from train.data.lst import LabelReader
from train.data.pixels import GREY_MEAN, GREY_STD, MEAN, STD, Normalise
from train.data.samples import Batches, Memory, Sample
from train.errors import UserError
from train.image_classification.augment import augment
from train.image_classification.hyperparameters import Hyperparameters

Batch = tuple[NDArray[np.float32], Labels]


@dataclass(frozen=True)
class Data:
    """Both sets of readable samples, the names of the classes, and how a photo becomes the network's input."""

    train: list[Sample[Label]]
    validation: list[Sample[Label]]
    class_names: tuple[str, ...]
    spec: InputSpec
    photos: Memory[NDArray[np.uint8]]  # (H, W, C), the training photos before augmentation
    crops: Memory[Image.Image]  # the validation photos as the server would cut them

    def train_batches(self, hp: Hyperparameters) -> Batches[Batch]:
        """Return batches of (float32 (N, C, H, W), labels int64 (N,) or float32 (N, K)), augmented."""
        labels = stack_labels(self.train)
        normalise = Normalise(self.spec)

        def make(indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
            out = np.empty((len(indices), self.spec.channels, self.spec.height, self.spec.width), np.float32)
            for row, index in enumerate(indices):
                crop = augment(self.photos[index], self.spec.height, self.spec.width, hp.augmentation_type, rng)
                normalise(crop, out[row])
            return out, labels[indices]

        return Batches(make, len(self.train), hp.mini_batch_size, hp.seed)

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (C, H, W): the same numbers that the server makes of the same bytes."""
        return preprocess.to_tensor(self.crops[index], self.spec)


def load(channels: dict[str, Channel], hp: Hyperparameters) -> Data:
    """List, read and check all samples. Raises UserError naming the file, the line and the fix."""
    refuse_unbuilt(channels)
    require_all(
        channels,
        "lst",
        "image-classification trains on 'train' and measures on 'validation', with labels in a .lst file in "
        f"'train_lst' and 'validation_lst'; RecordIO (ContentType {RECORDIO}) needs the first two alone",
    )
    label: LabelReader[Label] = lst.multi_hot if hp.multi_label else lst.class_id
    listed = {
        name: labelled.listed(channels, name, hp.num_classes, hp.resize, label) for name in ("train", "validation")
    }
    budget = samples.memory_budget()
    train, photos = _training_photos(listed["train"], hp, budget // 2)
    spec = _input_spec(hp, photos, len(train))
    validation, crops = labelled.crops("validation", listed["validation"], spec, hp.unreadable_tolerance, budget // 2)
    samples.check_count(len(train), hp)
    labels = stack_labels(train)
    if metrics.one_class_each(labels):
        samples.warn_of_empty_classes(labels, hp.num_classes, "image")
    return Data(train, validation, labelled.names(channels, listed["train"], hp.num_classes), spec, photos, crops)


def _training_photos(
    listed: list[Sample[Label]], hp: Hyperparameters, budget: int
) -> tuple[list[Sample[Label]], Memory[NDArray[np.uint8]]]:
    (channels, height, width), resize = hp.image_shape, hp.resize

    def decode(sample: Sample[object]) -> NDArray[np.uint8]:
        image = preprocess.decode(sample.read(), channels, resize and max(resize, height, width))
        if resize is not None:
            image = preprocess.cover(image, resize, height, width)
        elif image.width < width or image.height < height:
            raise UserError(
                f"{sample.name} is {image.width} x {image.height} pixels, smaller than "
                f"image_shape={hp.image_shape}: "
                "set resize to enlarge all photos, or leave it out of the data"
            )
        return np.asarray(image).reshape(image.height, image.width, channels)

    every = Memory(lambda i: decode(listed[i]), lambda photo: photo.nbytes, budget)
    return samples.readable("train", listed, every, hp.unreadable_tolerance)


def _input_spec(hp: Hyperparameters, photos: Memory[NDArray[np.uint8]], count: int) -> InputSpec:
    """Return the serving input: without `resize` the shorter side is the training photos' median, of 101 at most."""
    channels, height, width = hp.image_shape
    resize = hp.resize
    if resize is None:
        chosen = samples.spread(count, 101)
        resize = max(min(height, width), int(np.median([min(photos[i].shape[:2]) for i in chosen])))
    mean, std = (MEAN, STD) if channels == 3 else (GREY_MEAN, GREY_STD)
    return InputSpec("data", channels, height, width, resize, hp.inference_resize, mean, std)
