"""Labelled photos from image + .lst or RecordIO channels, and class names."""

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
from train.data import lst
from train.data.channels import Channel, class_names, is_recordio, listing
from train.data.lst import LabelReader
from train.data.samples import Sample, SampleCache, image_bytes, records, select_readable
from train.errors import Refuse, UserError, raise_error
from train.job.peers import ALONE, Peers
from train.log import LOG

Label = int | NDArray[np.float32]
"""A class id, or for multi-label float32 (K,) of zeros and ones."""
L = TypeVar("L", bound=Label)


@overload
def stack_labels(samples: Sequence[Sample[int]]) -> NDArray[np.int64]: ...
@overload
def stack_labels(samples: Sequence[Sample[Label]]) -> Labels: ...
def stack_labels(samples: Sequence[Sample[Label]]) -> Labels:
    """Return the labels of samples: int64 (N,), or for multi-label float32 (N, K)."""
    labels = np.stack([np.asarray(sample.label) for sample in samples])
    return labels.astype(np.int64) if labels.ndim == 1 else labels


def has_labels(channels: dict[str, Channel]) -> bool:
    """Return whether the channels have .lst files or RecordIO; otherwise they have class folders."""
    return any(
        name.endswith("_lst") or (name in ("train", "validation") and is_recordio(channels, name, f"{name}_lst"))
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
    """Return the samples of channel `name`. The channel `name`_lst must exist unless it is RecordIO.

    An invalid line or record goes to `refuse`. Raises UserError with the file, the line and the fix.
    """
    channel, in_records = channels[name], is_recordio(channels, name, f"{name}_lst")
    if in_records:
        path = channel.only_file(".rec")
        listed = _list_records(path, num_classes, label, refuse)
        if not listed:
            raise UserError(f"{channel.name_of(path)} holds no records: it needs at least one image")
    else:
        if resize is None:
            raise UserError(
                "hyperparameter resize is required for images with .lst files: set it to at least the smaller "
                "side of image_shape"
            )
        listed = _list_lst(channels[f"{name}_lst"], channel, num_classes, label, refuse)
    LOG.info("Channel %s: %s in %s form", name, plural(len(listed), "sample"), "RecordIO" if in_records else "image")
    return listed


def _list_records(path: Path, classes: int, label: LabelReader[L], refuse: Refuse) -> list[Sample[L]]:
    return [sample.labelled(label(sample.label, sample.name, classes)) for sample in records(path, refuse)]


def _list_lst(labels: Channel, images: Channel, classes: int, label: LabelReader[L], refuse: Refuse) -> list[Sample[L]]:
    """Read the .lst file of a channel. Raises UserError for a bad line, or if none of the images exists."""
    path = labels.only_file(".lst")
    file = labels.name_of(path)
    listed = lst.read(path, file, images.path, classes, label, refuse)
    if not listed:
        raise UserError(f"{file} is empty: each line is index<TAB>label<TAB>path below {images.name}/")
    existing = [sample for sample in listed if os.path.exists(sample.path)]  # Path.exists raises if a path is too long
    if not existing:
        raise UserError(
            f"{file} lists no image that exists below {images.path}, which holds {listing(images.path)}: paths must be "
            f"relative to that folder; the first of {len(listed)} is {listed[0].name}"
        )
    if images.sharded and len(existing) < len(listed):
        LOG.info("%s is sharded: %d of the %d photos in %s are on this host", images, len(existing), len(listed), file)
        return existing
    return listed


def find_class_names(
    channels: dict[str, Channel], samples: Sequence[Sample[Label]], classes: int, peers: Peers = ALONE
) -> tuple[str, ...]:
    """Return the names in classes.txt, else the folder names if each label has a folder, else the numbers.

    All hosts must call this; their samples and files are combined.
    """
    named = class_names(channels, ("train_lst", "train"), classes, peers)
    if named is not None:
        return named
    own = {(sample.label, _folder(sample)) for sample in samples if isinstance(sample.label, int)}
    folders: dict[int, set[str]] = {}
    for label, folder in chain(*peers.gather_json(sorted(own))):
        folders.setdefault(label, set()).add(folder)
    names = {label: next(iter(of_label)) for label, of_label in folders.items() if len(of_label) == 1}
    if len(names) == classes == len(set(names.values())) and "" not in names.values():
        return tuple(names[label] for label in range(classes))
    return tuple(str(label) for label in range(classes))


def _folder(sample: Sample[Label]) -> str:
    """Return the first folder in a sample's name, or "" if there is none."""
    parts = PurePosixPath(sample.name).parts
    return parts[0] if len(parts) > 1 else ""


def readable_crops(
    what: str, listed: list[Sample[L]], spec: InputSpec, tolerance: float, budget: int
) -> tuple[list[Sample[L]], SampleCache[Image.Image]]:
    """Return the readable samples, and each photo cropped or stretched as in the server.

    `budget` is the size of the cache in bytes. Raises UserError as select_readable does.
    """
    cache = SampleCache(lambda i: preprocess.cut(listed[i].read(), spec), image_bytes, budget)
    return select_readable(what, listed, cache, tolerance)
