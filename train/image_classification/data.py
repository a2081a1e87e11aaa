"""The data of image-classification: image + .lst and RecordIO channels, class names, and what is fed to the network."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from train import samples
from train.channels import RECORDIO, Channel, by_record, class_names, listing, refuse_unbuilt, require_all
from train.errors import UserError
from train.image_classification import lst
from train.image_classification.augment import augment
from train.log import LOG
from train.pixels import GREY_MEAN, GREY_STD, MEAN, STD, Normalise
from train.samples import Batches, Memory, Sample


@dataclass(frozen=True)
class Data:
    """Both sets of readable samples, the names of the classes, and how a photo becomes the network's input."""

    train: list[Sample]
    validation: list[Sample]
    class_names: tuple[str, ...]
    spec: InputSpec
    photos: Memory[np.ndarray]  # uint8 (H, W, C), the training photos before augmentation
    crops: Memory[Image.Image]  # the validation photos as the server would cut them

    def train_batches(self, hp: dict[str, Any]) -> Batches[tuple[np.ndarray, np.ndarray]]:
        """Return batches of (float32 (N, C, H, W), labels int64 (N,) or float32 (N, K)), augmented."""
        labels = stack_labels(self.train)
        normalise = Normalise(self.spec)

        def make(indices: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            out = np.empty((len(indices), self.spec.channels, self.spec.height, self.spec.width), np.float32)
            for row, index in enumerate(indices):
                crop = augment(self.photos[index], self.spec.height, self.spec.width, hp["augmentation_type"], rng)
                normalise(crop, out[row])
            return out, labels[indices]

        return Batches(make, len(self.train), hp["mini_batch_size"], hp["seed"])

    def validation_tensor(self, index: int) -> np.ndarray:
        """Return float32 (C, H, W): the same numbers that the server makes of the same bytes."""
        return preprocess.to_tensor(self.crops[index], self.spec)


def stack_labels(chosen: Sequence[Sample]) -> np.ndarray:
    """Return the labels of samples: int64 (N,), or float32 (N, K) for multi-label."""
    labels = np.stack([np.asarray(sample.label) for sample in chosen])
    return labels.astype(np.int64) if labels.ndim == 1 else labels


def load(channels: dict[str, Channel], hp: dict[str, Any]) -> Data:
    """List, read and check all samples. Raises UserError naming the file, the line and the fix."""
    refuse_unbuilt(channels)
    require_all(
        channels,
        "lst",
        "image-classification trains on 'train' and measures on 'validation', with labels in a .lst file in "
        f"'train_lst' and 'validation_lst'; RecordIO (ContentType {RECORDIO}) needs the first two alone",
    )
    listed = {name: _list(channels, name, hp) for name in ("train", "validation")}
    budget = samples.memory_budget()
    train, photos = _training_photos(listed["train"], hp, budget // 2)
    spec = _input_spec(hp, photos, len(train))
    validation, crops = _validation_crops(listed["validation"], hp, spec, budget // 2)
    samples.check_count(len(train), hp)
    if not hp["multi_label"]:
        samples.warn_of_empty_classes(stack_labels(train), hp["num_classes"], "image")
    return Data(train, validation, _class_names(channels, listed["train"], hp["num_classes"]), spec, photos, crops)


# ---- listing ----------------------------------------------------------------------------------------------------


def _list(channels: dict[str, Channel], name: str, hp: dict[str, Any]) -> list[Sample]:
    channel, in_records = channels[name], by_record(channels, name, f"{name}_lst")
    if in_records:
        path = channel.one(".rec")
        found = _list_records(path, hp)
        if not found:
            raise UserError(f"{channel.name_of(path)} holds no records: it needs at least one image")
    else:
        if hp["resize"] is None:
            raise UserError(
                "hyperparameter resize is required for images with .lst files: set it to at least "
                "image_shape's larger side"
            )
        found = _list_lst(channels[f"{name}_lst"], channel, hp)
    LOG.info("Channel %s: %d samples in %s form", name, len(found), "RecordIO" if in_records else "image")
    return found


def _list_records(path: Path, hp: dict[str, Any]) -> list[Sample]:
    return [
        replace(sample, label=lst.label(np.asarray(sample.label), sample.name, hp)) for sample in samples.records(path)
    ]


def _list_lst(labels: Channel, images: Channel, hp: dict[str, Any]) -> list[Sample]:
    """Read the .lst file of a channel. Raises UserError for a bad line, and when none of its images is there."""
    path = labels.one(".lst")
    file = labels.name_of(path)
    found = lst.read(path, file, images.path, hp)
    if not found:
        raise UserError(f"{file} is empty: each line is index<TAB>label<TAB>path below {images.name}/")
    if not any(os.path.exists(sample.path) for sample in found):  # of a path too long Path.exists raises
        raise UserError(
            f"None of the {len(found)} paths in {file} exists below {images.path}, which holds {listing(images.path)}: "
            f"paths are relative to that folder, and the first one is {found[0].name}"
        )
    return found


def _class_names(channels: dict[str, Channel], listed: Sequence[Sample], classes: int) -> tuple[str, ...]:
    """Return names from classes.txt, else from folders that stand one to one for labels, else the numbers."""
    named = class_names(channels, ("train_lst", "train"), classes)
    if named is not None:
        return named
    folders: dict[Any, set[str]] = {}
    for sample in listed:
        if isinstance(sample.label, int):
            parts = PurePosixPath(sample.name).parts
            folders.setdefault(sample.label, set()).add(parts[0] if len(parts) > 1 else "")
    names_by_label = {label: next(iter(found)) for label, found in folders.items() if len(found) == 1}
    one_to_one = (
        len(names_by_label) == classes == len(set(names_by_label.values())) and "" not in names_by_label.values()
    )
    return (
        tuple(names_by_label[label] for label in range(classes))
        if one_to_one
        else tuple(str(label) for label in range(classes))
    )


# ---- reading ----------------------------------------------------------------------------------------------------


def _training_photos(listed: list[Sample], hp: dict[str, Any], budget: int) -> tuple[list[Sample], Memory[np.ndarray]]:
    channels, height, width = hp["image_shape"]

    def decode(sample: Sample) -> np.ndarray:
        image = preprocess.decode(sample.read(), channels, hp["resize"])
        if hp["resize"] is not None:
            image = preprocess.shorter_side(image, hp["resize"])
        elif image.width < width or image.height < height:
            raise UserError(
                f"{sample.name} is {image.width} x {image.height} pixels, smaller than "
                f"image_shape={hp['image_shape']}: "
                "set resize to enlarge all photos, or leave it out of the data"
            )
        return np.asarray(image).reshape(image.height, image.width, channels)

    every = Memory(lambda i: decode(listed[i]), lambda photo: photo.nbytes, budget)
    return samples.readable("train", listed, every, hp["unreadable_tolerance"])


def _validation_crops(
    listed: list[Sample], hp: dict[str, Any], spec: InputSpec, budget: int
) -> tuple[list[Sample], Memory[Image.Image]]:
    every = Memory(lambda i: preprocess.cut(listed[i].read(), spec), samples.image_bytes, budget)
    return samples.readable("validation", listed, every, hp["unreadable_tolerance"])


def _input_spec(hp: dict[str, Any], photos: Memory[np.ndarray], count: int) -> InputSpec:
    """Return the serving input: without `resize` the shorter side is the training photos' median, of 101 at most."""
    channels, height, width = hp["image_shape"]
    resize = hp["resize"]
    if resize is None:
        chosen = samples.spread(count, 101)
        resize = max(height, width, int(np.median([min(photos[i].shape[:2]) for i in chosen])))
    mean, std = (MEAN, STD) if channels == 3 else (GREY_MEAN, GREY_STD)
    return InputSpec("data", channels, height, width, resize, hp["inference_resize"], mean, std)
