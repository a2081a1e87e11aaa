"""Class folders: each photo's class is the name of its folder. A channel may be split into training and validation."""

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

_NOT_IN_PARTS = "files outside the folders for training and validation, left out"
_NOT_PHOTOS = "files in class folders without the suffix of an image"
LAYOUT = "photos in class folders, such as train/cat/1.jpg and validation/dog/2.jpg"


@dataclass(frozen=True)
class FolderSamples:
    """All samples, readable or not, and the class names in the order of the labels."""

    train: list[Sample[int]]
    validation: list[Sample[int]]
    class_names: tuple[str, ...]
    validation_name: str = ""
    """The name of the channel or folder of `validation`, or "" if there is none."""


def list_samples(
    channels: dict[str, Channel],
    num_classes: int | None,
    validation_split: float,
    seed: int,
    refuse: Refuse = raise_error,
) -> FolderSamples:
    """Return the photos in class folders of the channel `training` or `train`, and of `validation` if it exists.

    If there is no validation part, the fraction `validation_split` of each class is split off; the same seed gives the
    same split. Raises UserError as `read` does.
    """
    channel = main_channel(channels)
    issues = DataIssues()
    try:
        samples = read(channel, channels.get("validation"), issues, refuse)
    finally:
        issues.log()
    names = samples.class_names
    if num_classes not in (None, len(names)):
        raise UserError(
            f"hyperparameter num_classes={num_classes} but {channel} has {plural(len(names), 'class folder')} "
            f"({', '.join(names[:10])}): correct one of them, or remove num_classes"
        )
    source = samples.validation_name
    if not source:
        train, validation = _split(samples.train, validation_split, seed)
        samples, source = FolderSamples(train, validation, names), f"{validation_split:g} of each class split off"
        if not validation:
            raise UserError(f"{channel} has at most one photo per class: at least two are needed, one for validation")
    LOG.info(
        "Classes %s: %s for training, %d for validation (%s)",
        ", ".join(names[:20]),
        plural(len(samples.train), "photo"),
        len(samples.validation),
        source,
    )
    return samples


def read(channel: Channel, separate: Channel | None, issues: DataIssues, refuse: Refuse = raise_error) -> FolderSamples:
    """Return the photos in the class folders of a channel and, if there is one, of its validation part.

    The validation part is a folder in the channel, next to a folder for training, or the channel `separate`. Classes
    are sorted by name. `issues` gets the files that are left out. A single class, or a class folder that only the
    validation part has, goes to `refuse`. Raises UserError with the channel, its content and the expected content.
    """
    folders = parts(channel)
    train, validation = folders.get(TRAIN, channel), folders.get(VALIDATION, separate)
    if separate is not None and validation is not None and validation is not separate:
        raise UserError(
            f"{channel} holds a folder {validation.path.name}/ but there is also a {separate}: remove one of the two"
        )
    if train is not channel:
        _note_files(channel, _NOT_IN_PARTS, issues)
    for path in folders[TEST].files(pairs.IMAGE_SUFFIXES) if TEST in folders else ():
        issues.add(TEST_PHOTOS, channel.name_of(path))
    names = _class_names(train, issues)
    if len(names) < 2:
        refuse(
            UserError(
                f"{train} has only one class folder, {names[0]}/: a classifier needs at least two; provide {LAYOUT}"
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
    """Return the channel `training` or `train`. Raises UserError if there is neither, or both."""
    names = [name for name in ("training", "train") if name in channels]
    if len(names) == 2:
        raise UserError("channels 'training' and 'train' are both given: put all training photos into one of them")
    if not names:
        raise UserError(
            f"channel 'training' is missing (given: {', '.join(sorted(channels)) or 'none'}): it must hold {LAYOUT}"
        )
    return channels[names[0]]


def parts(channel: Channel) -> dict[str, Channel]:
    """Return the folders for training, validation and testing in a channel; empty if it has class folders itself.

    Folders are recognised by name; see data.parts. Because a class may also be named `train`, next to one named `bus`,
    the channel must have no other folders, and the training folder must have subfolders.
    """
    children = subfolders(channel.path)
    by_part = {part_of(path.name): path for path in children}
    if TRAIN not in by_part or "" in by_part or len(by_part) < len(children) or not subfolders(by_part[TRAIN]):
        return {}
    return {part: Channel(f"{channel.name}/{path.name}", path, "", channel.kind) for part, path in by_part.items()}


def subfolders(path: Path) -> list[Path]:
    """Return the folders in `path`, sorted, except hidden ones and macOS's __MACOSX."""
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    return [folder for folder in folders if folder.name != "__MACOSX"]


def _class_names(channel: Channel, issues: DataIssues) -> tuple[str, ...]:
    """Return the names of the class folders. Add files outside them to `issues`."""
    folders = subfolders(channel.path)
    if not folders:
        raise UserError(
            f"{channel} has no class folders; it holds {listing(channel.path)}: it needs {LAYOUT}; "
            "photos with an .lst file need the channels train, train_lst, validation and validation_lst"
        )
    _note_files(channel, "files outside the class folders, left out", issues)
    return tuple(folder.name for folder in folders)


def _note_files(channel: Channel, kind: str, issues: DataIssues) -> None:
    """Add the files directly in a channel's folder to `issues`."""
    for path in sorted(channel.path.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            issues.add(kind, channel.name_of(path))


def _require_known(channel: Channel, names: Sequence[str], train: Channel, issues: DataIssues, refuse: Refuse) -> None:
    for name in _class_names(channel, issues):
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"its classes are {', '.join(names[:10])}"
            refuse(UserError(f"{channel} has the class folder {name}/, which {train} does not have: {hint}"))


def _samples(channel: Channel, names: Sequence[str], issues: DataIssues) -> list[Sample[int]]:
    """Return the photos at any depth in the class folders, sorted by class and name."""
    labels = {name: label for label, name in enumerate(names)}
    files = {path.relative_to(channel.path).as_posix(): path for path in channel.files()}
    inside = {name: path for name, path in files.items() if "/" in name and name.partition("/")[0] in labels}
    chosen = set(pairs.select_images(inside))
    for name, path in inside.items():
        if name not in chosen:
            is_photo = name.lower().endswith(pairs.IMAGE_SUFFIXES)
            kind = "photos that also exist in a readable format" if is_photo else _NOT_PHOTOS
            issues.add(f"{kind}, left out", channel.name_of(path))
    samples = [Sample(channel.name_of(inside[name]), labels[name.partition("/")[0]], inside[name]) for name in chosen]
    return sorted(samples, key=lambda sample: (sample.label, sample.path))


def _split(samples: Sequence[Sample[int]], fraction: float, seed: int) -> tuple[list[Sample[int]], list[Sample[int]]]:
    """Split off `fraction` of each class, at least one sample but not all. Return the rest and the part split off."""
    rng = np.random.default_rng(seed)
    labels = np.array([sample.label for sample in samples], int)
    chosen = np.zeros(len(samples), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(own))), len(own) - 1)
        chosen[rng.permutation(own)[:count]] = True
    return (
        [sample for sample, is_chosen in zip(samples, chosen, strict=True) if not is_chosen],
        [sample for sample, is_chosen in zip(samples, chosen, strict=True) if is_chosen],
    )
