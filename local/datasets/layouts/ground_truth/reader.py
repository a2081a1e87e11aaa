"""Ground Truth: output manifests of SageMaker's labelling jobs, and similar manifests written by hand.

    output.manifest             one photo per line, see `manifest`; train.manifest and validation.manifest are the split
    photos/1.jpg                the photo of "source-ref": "s3://bucket/photos/1.jpg", anywhere below the folder
    masks/0_2020-04-21.png      masks, also anywhere

Class numbers get the names in the metadata. Labels follow the order of the numbers, without gaps.
"""

import posixpath
import shlex
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from local.datasets import dataset
from local.datasets.dataset import (
    CLASSIFICATION,
    DETECTION,
    SEGMENTATION,
    Annotation,
    DataSet,
    Entry,
    LabelledBox,
    Labels,
    Target,
)
from local.datasets.files import path_suffixes
from local.datasets.files.listed import note_unlisted
from local.datasets.files.pairing import ANNOTATIONS, MASKS, kinds
from local.datasets.files.path_suffixes import Files
from local.datasets.files.values import preview
from local.datasets.files.walk import list_files
from local.datasets.layouts.ground_truth import manifest, values
from local.datasets.layouts.ground_truth.jobs import choose
from local.datasets.layouts.ground_truth.manifest import Label, Line
from local.datasets.layouts.ground_truth.values import ClassNames
from local.datasets.masks import colours, data_set
from local.datasets.masks.mask import Colour, Mask
from local.datasets.notes import Notes, read_usable
from local.errors import UserError
from serve.words import plural
from train.semantic_segmentation.masks import IGNORE

Value = TypeVar("Value")


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` holds a manifest, or None."""
    first = next(manifest.files(root), None)
    return f"{first.relative_to(root).as_posix()} is a SageMaker manifest" if first else None


def classification(root: Path) -> DataSet[Labels]:
    """Read one or any number of classes per photo. Raise UserError naming the file, the line and the fix."""

    def read(label: Label) -> tuple[int | list[int], dict[int, str]]:
        return values.classes(label), values.class_names(label)

    notes: Notes = {}
    labelled = _labels(root, CLASSIFICATION, read, notes)
    lists = [(value, names) for _, (value, names) in labelled if isinstance(value, list)]
    multi_hot = values.is_multi_hot(lists)
    if multi_hot:
        notes["lists read as a 0 or 1 for each class"] = [plural(len(lists), "line")]
    classes = ClassNames(root)
    chosen: list[tuple[Line, list[int]]] = []
    for line, (value, names) in labelled:
        numbers = value if isinstance(value, list) else [value]
        if multi_hot and isinstance(value, list):
            numbers = [number for number, flag in enumerate(value) if flag]
        if len(set(numbers)) < len(numbers):
            raise UserError(
                f"{line.where} names a class twice, {str(value)[:60]}: list each class once, or give a 0 or 1 for each "
                "class in all lines"
            )
        classes.add(line.where, names, numbers)
        chosen.append((line, numbers))
    names = classes.by_number(notes)
    targets = [(line, tuple(dict.fromkeys(names[number] for number in sorted(numbers)))) for line, numbers in chosen]
    entries = _entries(root, targets, [labels for _, labels in targets], notes, in_folders=not lists)
    return DataSet(root, entries, tuple(dict.fromkeys(names.values())), notes, multi_label=bool(lists))


def detection(root: Path) -> DataSet[Annotation]:
    """Read boxes, which are in pixels of their `image_size`. Raise UserError naming the file, the line and the fix."""

    def read(label: Label) -> tuple[values.Boxes, dict[int, str]]:
        return values.boxes(label), values.class_names(label)

    notes: Notes = {}
    labelled = _labels(root, DETECTION, read, notes)
    classes = ClassNames(root)
    for line, ((_, boxes), declared) in labelled:
        classes.add(line.where, declared, [*declared, *(number for number, _ in boxes)])
    names = classes.by_number(notes)
    targets = [
        (line, Annotation(line.where, tuple(LabelledBox(names[number], box) for number, box in boxes), size))
        for line, ((size, boxes), _) in labelled
    ]
    photo_classes = [annotation.classes for _, annotation in targets]
    return DataSet(root, _entries(root, targets, photo_classes, notes), tuple(dict.fromkeys(names.values())), notes)


def segmentation(root: Path) -> DataSet[Mask]:
    """Read masks from PNG files. Classes are in `internal-color-map`; without it, the numbers are the classes.

    Raise UserError naming the file, the line and the fix.
    """
    notes: Notes = {}
    labelled = _labels(root, SEGMENTATION, _mask, notes)
    files = _files(root, [line for line, _ in labelled], [ref for _, (ref, _, _) in labelled], "mask", notes)
    masks = [(line, files[ref], names, table) for line, (ref, names, table) in labelled if ref in files]
    if not any(names for _, _, names, _ in masks):
        return _numbered(root, [(line, file) for line, file, _, _ in masks], notes)
    classes = ClassNames(root)
    for line, _, declared, _ in masks:
        classes.add(line.where, declared, declared)
    names = classes.by_number(notes)
    class_names = tuple(dict.fromkeys(names.values()))
    if len(class_names) > IGNORE:
        raise UserError(f"{root}: the masks have {len(class_names)} classes, and the limit is {IGNORE}: merge some")
    labels = {number: class_names.index(name) for number, name in names.items()}
    targets = []
    for line, file, declared, table in masks:
        by_colour = {colour: labels[number] for colour, number in table.items()}
        by_number = {number: labels[number] for number in declared}
        source = file.relative_to(root).as_posix()
        targets.append((line, Mask(source, partial(colours.read, file, source, by_colour, by_number))))
    groups = [[names[number] for number in declared] for _, _, declared, _ in masks]
    return DataSet(root, _entries(root, targets, groups, notes), class_names, notes)


def _numbered(root: Path, masks: Sequence[tuple[Line, Path]], notes: Notes) -> DataSet[Mask]:
    """Read masks without names. The numbers in them are the classes, so all masks must be read here."""
    photos = _files(root, [line for line, _ in masks], [line.ref for line, _ in masks], "photo", notes)
    by_path = {photos[line.ref]: (line, mask) for line, mask in masks if line.ref in photos}
    by_name = {photo.relative_to(root).as_posix(): pair for photo, pair in by_path.items()}
    parts = {photo: line.part for photo, (line, _) in by_name.items()}
    names = {photo: mask.relative_to(root).as_posix() for photo, (_, mask) in by_name.items()}
    return data_set.of_masks(root, names, parts, notes)


def _mask(label: Label) -> tuple[str, dict[int, str], dict[Colour, int]]:
    """Return the URI of a mask, the class names by number, and the numbers by colour."""
    if not isinstance(label.value, str) or not label.value.strip("/\\ "):
        raise UserError(f"{label.where} has {preview(label.value)} as {label.name}: expected the URI of a PNG")
    names, table = values.colour_map(label)
    return label.value, names, table


def _labels(root: Path, task: str, value: Callable[[Label], Value], notes: Notes) -> list[tuple[Line, Value]]:
    """Return each line with `value` of its label for a task. Note lines for which `value` raises UserError."""
    lines = manifest.lines(root, notes)
    labelled = choose(root, lines, task, notes)
    names = [name for name in path_suffixes.photos(root).names if not kinds(name) & {ANNOTATIONS, MASKS}]
    # Do not note masks as unlisted photos.
    photos = Files(root, (name for name in names if task != SEGMENTATION or not name.lower().endswith(".png")))
    note_unlisted(photos, {root / "manifest": [line.ref for line in lines]}, notes)
    return [(item.line, result) for item, result in read_usable(labelled, lambda item: value(item.label), root, notes)]


def _entries(
    root: Path,
    targets: Sequence[tuple[Line, Target]],
    classes: Sequence[Iterable[str]],
    notes: Notes,
    in_folders: bool = False,
) -> tuple[Entry[Target], ...]:
    """Return entries for the photos that exist below `root`."""
    files = _files(root, [line for line, _ in targets], [line.ref for line, _ in targets], "photo", notes)
    rows = [
        (files[line.ref], line.part, target, names)
        for (line, target), names in zip(targets, classes, strict=True)
        if line.ref in files
    ]
    return dataset.make_entries(rows, in_folders)


def _files(root: Path, lines: Iterable[Line], refs: Sequence[str], what: str, notes: Notes) -> dict[str, Path]:
    """Return the files below `root` by their URI, and note missing ones. Raise UserError if all are missing."""
    matches = Files(root, list_files(root)).find(refs, root, [line.part for line in lines])
    files = {ref: match.path for ref, match in zip(refs, matches, strict=True) if match.path is not None}
    if refs and not files:
        raise UserError(f"{root} has no {what} from its manifests, such as {refs[0]}: {_download_hint(refs, root)}")
    for match in matches:
        if match.path is None:
            notes.setdefault(match.reason, []).append(match.description)
    return files


def _download_hint(refs: Iterable[str], root: Path) -> str:
    """Return commands that download the files from S3, one per bucket."""
    folders: dict[str, list[str]] = {}
    for ref in refs:
        if ref.startswith("s3://"):
            path = ref.removeprefix("s3://").rpartition("/")[0]
            folders.setdefault(path.partition("/")[0], []).append(path)
    commands = [
        f"aws s3 cp --recursive {shlex.quote(f's3://{posixpath.commonpath(paths)}/')} {shlex.quote(str(root))}"
        for paths in folders.values()
    ]
    return " && ".join(commands) or "copy them there"
