"""The labelled photos of the classifiers: image + .lst and RecordIO channels, and the names of the classes."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.words import plural
from train import lst, samples
from train.channels import Channel, by_record, class_names, listing
from train.errors import UserError
from train.log import LOG
from train.samples import Memory, Sample


def stack_labels(chosen: Sequence[Sample]) -> np.ndarray:
    """Return the labels of samples: int64 (N,), or float32 (N, K) for multi-label."""
    labels = np.stack([np.asarray(sample.label) for sample in chosen])
    return labels.astype(np.int64) if labels.ndim == 1 else labels


def listed(channels: dict[str, Channel], name: str, hp: dict[str, Any]) -> list[Sample]:
    """Return the samples of channel `name`; channel `name`_lst is there when it is not RecordIO.

    `hp` has num_classes and resize, and multi_label where samples may have several labels. Raises UserError naming the
    file, the line and the fix.
    """
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
                "image_shape's smaller side"
            )
        found = _list_lst(channels[f"{name}_lst"], channel, hp)
    LOG.info("Channel %s: %s in %s form", name, plural(len(found), "sample"), "RecordIO" if in_records else "image")
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
            f"No path in {file} exists below {images.path}, which holds {listing(images.path)}: paths are relative to "
            f"that folder, and the first of {len(found)} is {found[0].name}"
        )
    return found


def names(channels: dict[str, Channel], listed: Sequence[Sample], classes: int) -> tuple[str, ...]:
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


def crops(
    what: str, listed: list[Sample], spec: InputSpec, tolerance: float, budget: int
) -> tuple[list[Sample], Memory[Image.Image]]:
    """Return the readable samples and each one as the server would cut it; raises UserError as samples.readable does.

    `budget` is the bytes that may be spent on keeping them.
    """
    every = Memory(lambda i: preprocess.cut(listed[i].read(), spec), samples.image_bytes, budget)
    return samples.readable(what, listed, every, tolerance)
