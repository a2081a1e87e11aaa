"""Class folders: photos whose folder's name is their class, in parts for training and validation or in one."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serve.words import plural
from train.data import pairs
from train.data.channels import Channel, listing
from train.data.parts import TEST, TEST_PHOTOS, TRAIN, VALIDATION, part_of
from train.data.samples import DataIssues, Sample
from train.errors import Refuse, UserError, raise_error
from train.log import LOG

_BESIDE_PARTS = "files beside the folders for training and validation, left out"
_NO_PHOTOS = "files in class folders that are no photos by their names"
LAYOUT = "photos in class folders, such as train/cat/1.jpg and validation/dog/2.jpg"


@dataclass(frozen=True)
class FolderSamples:
    """All samples, readable or not, and the names of the classes in the order of the labels."""

    train: list[Sample[int]]
    validation: list[Sample[int]]
    class_names: tuple[str, ...]
    measured: str = ""
    """What `validation` is called, "" where there is none."""


def list_samples(
    channels: dict[str, Channel],
    num_classes: int | None,
    validation_split: float,
    seed: int,
    refuse: Refuse = raise_error,
) -> FolderSamples:
    """Return the photos in class folders of the channel `training` or `train`, and of `validation` if there is one.

    Without a validation part anywhere, `validation_split` of each class is split off, the same photos for the same
    seed. Raises UserError as `read` does.
    """
    channel = main_channel(channels)
    issues = DataIssues()
    try:
        found = read(channel, channels.get("validation"), issues, refuse)
    finally:
        issues.log()
    names = found.class_names
    if num_classes not in (None, len(names)):
        raise UserError(
            f"hyperparameter num_classes={num_classes} is not the number of class folders in {channel}, {len(names)} "
            f"({', '.join(names[:10])}): correct one of them, or leave num_classes out"
        )
    said = found.measured
    if not said:
        train, validation = _split(found.train, validation_split, seed)
        found, said = FolderSamples(train, validation, names), f"{validation_split:g} of each class split off"
        if not validation:
            raise UserError(f"{channel} has one photo of each class at most: give two, of which one is measured on")
    LOG.info(
        "Classes %s: %s to train on, %d to measure on (%s)",
        *(", ".join(names[:20]), plural(len(found.train), "photo"), len(found.validation), said),
    )
    return found


def read(channel: Channel, beside: Channel | None, issues: DataIssues, refuse: Refuse = raise_error) -> FolderSamples:
    """Return the photos in the class folders of a channel, and those of its validation part, none if there is none.

    The channel may hold both parts itself, as folders `train` and `validation` of class folders, or have the second
    `beside` it; `issues` gets the files that are left out. Classes are in the order of their names. One class alone,
    and a class folder of the validation part alone, go to `refuse`. Raises UserError naming the channel, what it holds
    and what it must hold.
    """
    found = parts(channel)
    train, validation = found.get(TRAIN, channel), found.get(VALIDATION, beside)
    if beside is not None and validation is not None and validation is not beside:
        raise UserError(
            f"{channel} holds a folder {validation.path.name}/ and there is a {beside} too: remove one of the two"
        )
    if train is not channel:
        _note_files(channel, _BESIDE_PARTS, issues)
    for path in found[TEST].files(pairs.IMAGE_SUFFIXES) if TEST in found else ():
        issues.add(TEST_PHOTOS, channel.name_of(path))
    names = _class_names(train, issues)
    if len(names) < 2:
        refuse(
            UserError(
                f"{train} has one class folder, {names[0]}/: a classifier needs two or more; it trains on {LAYOUT}"
            )
        )
    photos = {train: _samples(train, names, issues)}
    if validation is not None:
        _require_known(validation, names, train, issues, refuse)
        photos[validation] = _samples(validation, names, issues)
    for part, samples in photos.items():
        if not samples:
            raise UserError(f"{part} has no photos in its class folders: it needs {LAYOUT}")
    if validation is None:
        return FolderSamples(photos[train], [], names)
    return FolderSamples(photos[train], photos[validation], names, validation.name)


def main_channel(channels: dict[str, Channel]) -> Channel:
    """Return the channel `training` or `train`. Raises UserError when there is none, or both."""
    given = [name for name in ("training", "train") if name in channels]
    if len(given) == 2:
        raise UserError("channels 'training' and 'train' are both given: put all photos to train on into one of them")
    if not given:
        raise UserError(
            f"channel 'training' is missing (given: {', '.join(sorted(channels)) or 'none'}): it holds {LAYOUT}"
        )
    return channels[given[0]]


def parts(channel: Channel) -> dict[str, Channel]:
    """Return the folders for training, validation and testing in a channel, none when it holds class folders itself.

    Their names have the words of data.parts. A class may be called `train`, as beside `bus`; so nothing else may be
    there, and class folders in it.
    """
    below = subfolders(channel.path)
    found = {part_of(path.name): path for path in below}
    if TRAIN not in found or "" in found or len(found) < len(below) or not subfolders(found[TRAIN]):
        return {}
    return {part: Channel(f"{channel.name}/{path.name}", path, "", channel.kind) for part, path in found.items()}


def subfolders(path: Path) -> list[Path]:
    """Return the folders in `path` in order, but for hidden ones and macOS's __MACOSX."""
    found = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    return [each for each in found if each.name != "__MACOSX"]


def _class_names(channel: Channel, issues: DataIssues) -> tuple[str, ...]:
    """Return the names of the class folders; notes files beside them."""
    folders = subfolders(channel.path)
    if not folders:
        raise UserError(
            f"{channel} has no class folders, it holds {listing(channel.path)}: it needs {LAYOUT}; "
            "photos with an .lst file need the channels train, train_lst, validation and validation_lst"
        )
    _note_files(channel, "files beside the class folders, left out", issues)
    return tuple(folder.name for folder in folders)


def _note_files(channel: Channel, kind: str, issues: DataIssues) -> None:
    """Note the files in a channel's own folder."""
    for path in sorted(channel.path.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            issues.add(kind, channel.name_of(path))


def _require_known(channel: Channel, names: Sequence[str], train: Channel, issues: DataIssues, refuse: Refuse) -> None:
    for name in _class_names(channel, issues):
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"that has {', '.join(names[:10])}"
            refuse(UserError(f"{channel} has the class folder {name}/, which {train} has not: {hint}"))


def _samples(channel: Channel, names: Sequence[str], issues: DataIssues) -> list[Sample[int]]:
    """Return the photos at any depth below the class folders, by class and name."""
    labels = {name: label for label, name in enumerate(names)}
    files = {path.relative_to(channel.path).as_posix(): path for path in channel.files()}
    inside = {name: path for name, path in files.items() if "/" in name and name.partition("/")[0] in labels}
    chosen = set(pairs.select_images(inside))
    for name, path in inside.items():
        if name not in chosen:
            is_photo = name.lower().endswith(pairs.IMAGE_SUFFIXES)
            kind = "photos that are also there in a format that is read" if is_photo else _NO_PHOTOS
            issues.add(f"{kind}, left out", channel.name_of(path))
    found = [Sample(channel.name_of(inside[name]), labels[name.partition("/")[0]], inside[name]) for name in chosen]
    return sorted(found, key=lambda sample: (sample.label, sample.path))


def _split(found: Sequence[Sample[int]], share: float, seed: int) -> tuple[list[Sample[int]], list[Sample[int]]]:
    """Return the samples to train on and those split off: of each class `share`, at least one, never all."""
    rng = np.random.default_rng(seed)
    labels = np.array([sample.label for sample in found], int)
    chosen = np.zeros(len(found), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(own))), len(own) - 1)
        chosen[rng.permutation(own)[:count]] = True
    return (
        [sample for sample, is_chosen in zip(found, chosen, strict=True) if not is_chosen],
        [sample for sample, is_chosen in zip(found, chosen, strict=True) if is_chosen],
    )
