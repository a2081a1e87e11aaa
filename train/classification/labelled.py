"""The labelled photos of the classifiers: image + .lst and RecordIO channels, and the names of the classes."""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.words import plural
from train.classification.metrics import Labels
from train.data import lst, samples
from train.data.channels import Channel, by_record, class_names, listing
from train.data.lst import LabelReader
from train.data.samples import Sample, SampleCache
from train.errors import Refuse, UserError, raise_error
from train.job.peers import ALONE, Peers
from train.log import LOG

Label = int | NDArray[np.float32]
"""One class id, or for multi-label float32 (K,) of 0 and 1."""
L = TypeVar("L", bound=Label)


@overload
def stack_labels(chosen: Sequence[Sample[int]]) -> NDArray[np.int64]: ...
@overload
def stack_labels(chosen: Sequence[Sample[Label]]) -> Labels: ...
def stack_labels(chosen: Sequence[Sample[Label]]) -> Labels:
    """Return the labels of samples: int64 (N,), or float32 (N, K) for multi-label."""
    labels = np.stack([np.asarray(sample.label) for sample in chosen])
    return labels.astype(np.int64) if labels.ndim == 1 else labels


def has_labels(channels: dict[str, Channel]) -> bool:
    """Return whether the channels are of photos with .lst files, or RecordIO; if not, of class folders."""
    return any(
        name.endswith("_lst") or (name in ("train", "validation") and by_record(channels, name, f"{name}_lst"))
        for name in channels
    )


def list_samples(
    channels: dict[str, Channel],
    name: str,
    num_classes: int,
    resize: int | None,
    label: LabelReader[L],
    refuse: Refuse = raise_error,
) -> list[Sample[L]]:
    """Return the samples of channel `name`; channel `name`_lst is there when it is not RecordIO.

    A line or record that cannot be used goes to `refuse`. Raises UserError naming the file, the line and the fix.
    """
    channel, in_records = channels[name], by_record(channels, name, f"{name}_lst")
    if in_records:
        path = channel.only_file(".rec")
        found = _list_records(path, num_classes, label, refuse)
        if not found:
            raise UserError(f"{channel.name_of(path)} holds no records: it needs at least one image")
    else:
        if resize is None:
            raise UserError(
                "hyperparameter resize is required for images with .lst files: set it to at least "
                "image_shape's smaller side"
            )
        found = _list_lst(channels[f"{name}_lst"], channel, num_classes, label, refuse)
    LOG.info("Channel %s: %s in %s form", name, plural(len(found), "sample"), "RecordIO" if in_records else "image")
    return found


def _list_records(path: Path, classes: int, label: LabelReader[L], refuse: Refuse) -> list[Sample[L]]:
    return [sample.labelled(label(sample.label, sample.name, classes)) for sample in samples.records(path, refuse)]


def _list_lst(labels: Channel, images: Channel, classes: int, label: LabelReader[L], refuse: Refuse) -> list[Sample[L]]:
    """Read the .lst file of a channel. Raises UserError for a bad line, and when none of its images is there."""
    path = labels.only_file(".lst")
    file = labels.name_of(path)
    found = lst.read(path, file, images.path, classes, label, refuse)
    if not found:
        raise UserError(f"{file} is empty: each line is index<TAB>label<TAB>path below {images.name}/")
    there = [sample for sample in found if os.path.exists(sample.path)]  # of a path too long Path.exists raises
    if not there:
        raise UserError(
            f"No path in {file} exists below {images.path}, which holds {listing(images.path)}: paths are relative to "
            f"that folder, and the first of {len(found)} is {found[0].name}"
        )
    if images.sharded and len(there) < len(found):
        LOG.info("%s is sharded: %d of the %d photos in %s are on this host", images, len(there), len(found), file)
        return there
    return found


def find_class_names(
    channels: dict[str, Channel], listed: Sequence[Sample[Label]], classes: int, peers: Peers = ALONE
) -> tuple[str, ...]:
    """Return names from classes.txt, else from folders that stand one to one for labels, else the numbers.

    They are of the samples and files of all hosts, which all must call it.
    """
    named = class_names(channels, ("train_lst", "train"), classes, peers)
    if named is not None:
        return named
    own = {(sample.label, _folder(sample)) for sample in listed if isinstance(sample.label, int)}
    folders: dict[int, set[str]] = {}
    for label, folder in chain(*peers.gather_json(sorted(own))):
        folders.setdefault(label, set()).add(folder)
    names_by_label = {label: next(iter(found)) for label, found in folders.items() if len(found) == 1}
    one_to_one = (
        len(names_by_label) == classes == len(set(names_by_label.values())) and "" not in names_by_label.values()
    )
    return (
        tuple(names_by_label[label] for label in range(classes))
        if one_to_one
        else tuple(str(label) for label in range(classes))
    )


def _folder(sample: Sample[Label]) -> str:
    """Return the first folder in a sample's name, "" when it is in none."""
    parts = PurePosixPath(sample.name).parts
    return parts[0] if len(parts) > 1 else ""


def readable_crops(
    what: str, listed: list[Sample[L]], spec: InputSpec, tolerance: float, budget: int
) -> tuple[list[Sample[L]], SampleCache[Image.Image]]:
    """Return the readable samples and each one as the server would cut it; raises UserError as samples.readable does.

    `budget` is the bytes that may be spent on keeping them.
    """
    every = SampleCache(lambda i: preprocess.cut(listed[i].read(), spec), samples.image_bytes, budget)
    return samples.select_readable(what, listed, every, tolerance)
