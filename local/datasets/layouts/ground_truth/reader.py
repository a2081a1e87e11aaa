"""Ground Truth: the output manifests of SageMaker's labelling jobs, and manifests like them that were made by hand.

    output.manifest             one photo a line, see `manifest`; train.manifest and validation.manifest are the split
    photos/1.jpg                of "source-ref": "s3://bucket/photos/1.jpg", wherever it is below the folder; so are
    masks/0_2020-04-21.png      the masks

Classes get the names that metadata give their numbers, in the order of the numbers, as labels without gaps.
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
from local.datasets.files.walk import list_files
from local.datasets.layouts.ground_truth import manifest, values
from local.datasets.layouts.ground_truth.jobs import choose
from local.datasets.layouts.ground_truth.manifest import Label, Line
from local.datasets.layouts.ground_truth.values import ClassNames
from local.datasets.masks import colours, data_set
from local.datasets.masks.mask import Colour, Mask
from local.datasets.notes import Notes, read_usable
from local.errors import UserError
from train.semantic_segmentation.masks import IGNORE

Value = TypeVar("Value")


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` holds a manifest, None if it does not."""
    first = next(manifest.files(root), None)
    return f"{first.relative_to(root).as_posix()} is a manifest of SageMaker" if first else None


def classification(root: Path) -> DataSet[Labels]:
    """Read the classes of photos, one or any number each. Raises UserError naming the file, the line and the fix."""

    def value(label: Label) -> tuple[int | list[int], dict[int, str]]:
        return values.classes(label), values.class_names(label)

    notes: Notes = {}
    found = _values(root, CLASSIFICATION, value, notes)
    lists = [(one, names) for _, (one, names) in found if isinstance(one, list)]
    multi_hot = values.is_multi_hot(lists)
    if multi_hot:
        notes["lists read as a 0 or 1 for each class"] = [f"{len(lists)} lines"]
    classes = ClassNames(root)
    chosen: list[tuple[Line, list[int]]] = []
    for line, (one, names) in found:
        numbers = one if isinstance(one, list) else [one]
        if multi_hot and isinstance(one, list):
            numbers = [number for number, is_there in enumerate(one) if is_there]
        if len(set(numbers)) < len(numbers):
            raise UserError(
                f"{line.where} names a class twice, {str(one)[:60]}: a list has each class once or, in all lines of "
                "one length, a 0 or 1 for each class"
            )
        classes.add(line.where, names, numbers)
        chosen.append((line, numbers))
    names = classes.by_number(notes)
    known = [(line, tuple(dict.fromkeys(names[number] for number in sorted(numbers)))) for line, numbers in chosen]
    entries = _entries(root, known, [labels for _, labels in known], notes, in_folders=not lists)
    return DataSet(root, entries, tuple(dict.fromkeys(names.values())), notes, multi_label=bool(lists))


def detection(root: Path) -> DataSet[Annotation]:
    """Read boxes in pixels of their `image_size`. Raises UserError naming the file, the line and the fix."""

    def value(label: Label) -> tuple[values.Boxes, dict[int, str]]:
        return values.boxes(label), values.class_names(label)

    notes: Notes = {}
    found = _values(root, DETECTION, value, notes)
    classes = ClassNames(root)
    for line, ((_, boxes), declared) in found:
        classes.add(line.where, declared, [*declared, *(number for number, _ in boxes)])
    names = classes.by_number(notes)
    known = [
        (line, Annotation(line.where, tuple(LabelledBox(names[number], box) for number, box in boxes), size))
        for line, ((size, boxes), _) in found
    ]
    of_photos = [annotation.classes for _, annotation in known]
    return DataSet(root, _entries(root, known, of_photos, notes), tuple(dict.fromkeys(names.values())), notes)


def segmentation(root: Path) -> DataSet[Mask]:
    """Read masks, PNG files whose colours or numbers `internal-color-map` names; without it numbers are classes.

    Raises UserError naming the file, the line and the fix.
    """
    notes: Notes = {}
    found = _values(root, SEGMENTATION, _mask, notes)
    files = _files(root, [line for line, _ in found], [ref for _, (ref, _, _) in found], "mask", notes)
    there = [(line, files[ref], names, table) for line, (ref, names, table) in found if ref in files]
    if not any(names for _, _, names, _ in there):
        return _numbered(root, [(line, file) for line, file, _, _ in there], notes)
    classes = ClassNames(root)
    for line, _, declared, _ in there:
        classes.add(line.where, declared, declared)
    names = classes.by_number(notes)
    class_names = tuple(dict.fromkeys(names.values()))
    if len(class_names) > IGNORE:
        raise UserError(f"{root}: the masks have {len(class_names)} classes; there can be {IGNORE}")
    labels = {number: class_names.index(name) for number, name in names.items()}
    known = []
    for line, file, declared, table in there:
        by_colour = {colour: labels[number] for colour, number in table.items()}
        by_number = {number: labels[number] for number in declared}
        source = file.relative_to(root).as_posix()
        known.append((line, Mask(source, partial(colours.read, file, source, by_colour, by_number))))
    groups = [[names[number] for number in declared] for _, _, declared, _ in there]
    return DataSet(root, _entries(root, known, groups, notes), class_names, notes)


def _numbered(root: Path, masks: Sequence[tuple[Line, Path]], notes: Notes) -> DataSet[Mask]:
    """Masks without names: the classes are the numbers in them, so that all have to be read here."""
    photos = _files(root, [line for line, _ in masks], [line.ref for line, _ in masks], "photo", notes)
    there = {photos[line.ref]: (line, mask) for line, mask in masks if line.ref in photos}
    found = {photo.relative_to(root).as_posix(): one for photo, one in there.items()}
    parts = {photo: line.part for photo, (line, _) in found.items()}
    names = {photo: mask.relative_to(root).as_posix() for photo, (_, mask) in found.items()}
    return data_set.of_masks(root, names, parts, notes)


def _mask(label: Label) -> tuple[str, dict[int, str], dict[Colour, int]]:
    """The address of a mask, names of classes by number, and numbers by colour."""
    if not isinstance(label.value, str) or not label.value.strip("/\\ "):
        raise UserError(f"{label.where} has a {label.name} that is not the address of a PNG")
    names, table = values.colour_map(label)
    return label.value, names, table


def _values(root: Path, task: str, value: Callable[[Label], Value], notes: Notes) -> list[tuple[Line, Value]]:
    """What `value` makes of each label for a task; those of which it raises UserError are noted."""
    lines = manifest.lines(root, notes)
    labelled = choose(root, lines, task, notes)
    names = [name for name in path_suffixes.photos(root).names if not kinds(name) & {ANNOTATIONS, MASKS}]
    # A mask is not a photo that nothing lists.
    photos = Files(root, (name for name in names if task != SEGMENTATION or not name.lower().endswith(".png")))
    note_unlisted(photos, {root / "manifest": [line.ref for line in lines]}, notes)
    return [(one.line, found) for one, found in read_usable(labelled, lambda one: value(one.label), root, notes)]


def _entries(
    root: Path,
    known: Sequence[tuple[Line, Target]],
    classes: Sequence[Iterable[str]],
    notes: Notes,
    in_folders: bool = False,
) -> tuple[Entry[Target], ...]:
    """`dataset.make_entries` of the photos that are below `root`."""
    files = _files(root, [line for line, _ in known], [line.ref for line, _ in known], "photo", notes)
    there = ((line, fact, of) for (line, fact), of in zip(known, classes, strict=True) if line.ref in files)
    return dataset.make_entries(((files[line.ref], line.part, fact, of) for line, fact, of in there), in_folders)


def _files(root: Path, lines: Iterable[Line], refs: Sequence[str], what: str, notes: Notes) -> dict[str, Path]:
    """The files below `root` by what `lines` call them; notes the others. Raises UserError when there are none."""
    found = Files(root, list_files(root)).find(refs, root, [line.part for line in lines])
    files = {ref: one.path for ref, one in zip(refs, found, strict=True) if one.path is not None}
    if refs and not files:
        raise UserError(f"{root} has no {what} of its manifests, such as {refs[0]}: {_how_to_get(refs, root)}")
    for one in found:
        if one.path is None:
            notes.setdefault(one.why, []).append(one.words)
    return files


def _how_to_get(refs: Iterable[str], root: Path) -> str:
    """The commands that download what is in S3, one a bucket."""
    folders: dict[str, list[str]] = {}
    for ref in refs:
        if ref.startswith("s3://"):
            path = ref.removeprefix("s3://").rpartition("/")[0]
            folders.setdefault(path.partition("/")[0], []).append(path)
    commands = [
        f"aws s3 cp --recursive {shlex.quote(f's3://{posixpath.commonpath(paths)}/')} {shlex.quote(str(root))}"
        for paths in folders.values()
    ]
    return " && ".join(commands) or "put them there"
