"""Which label of a manifest's line counts: that of the last job whose type is of the task."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from local.datasets.dataset import CLASSIFICATION, DETECTION, SEGMENTATION
from local.datasets.layouts.ground_truth.manifest import Label, Line
from local.datasets.layouts.ground_truth.values import numbers
from local.datasets.notes import TEST_PHOTOS, UNLABELLED, Notes
from local.errors import UserError
from train.data.parts import TEST

_TASKS = {
    "groundtruth/image-classification": CLASSIFICATION,
    "groundtruth/image-classification-multilabel": CLASSIFICATION,
    "groundtruth/object-detection": DETECTION,
    "groundtruth/semantic-segmentation": SEGMENTATION,
}
_VERIFICATION = "groundtruth/label-verification"
_FORMS = {
    CLASSIFICATION: "a number or a list of numbers",
    DETECTION: 'an object with "image_size" and "annotations"',
    SEGMENTATION: "the address of a PNG, with a name that ends in -ref",
}
_NO_LABELS = "manifests without labels, left out"
_OTHER_JOBS = "labels of which a line has a later one, not used"
_AGAIN = "photos that have a later line, whose label is taken"


class Labelled(NamedTuple):
    """A line, and its label for a task."""

    line: Line
    label: Label


def choose(root: Path, lines: Sequence[Line], task: str, notes: Notes) -> list[Labelled]:
    """Return the lines that have a label for `task`, one of dataset.TASKS, and name the others in `notes`.

    Where no job recorded a type, the label is the one attribute that has the task's form. Of a photo's lines in one
    manifest the last one is taken. Raises UserError when there are no labels for the task, or several to choose from,
    and for a photo that two manifests label.
    """
    labels, other = _labels_of(root, lines, task)
    found: dict[str, Labelled] = {}
    notes[UNLABELLED], notes[_AGAIN], notes[TEST_PHOTOS] = [], [], []
    labelled = {line.file for line, here in zip(lines, labels, strict=True) if here}
    for line, here in zip(lines, labels, strict=True):
        photo = line.ref.replace("\\", "/").rpartition("/")[2]
        if line.part == TEST:
            notes[TEST_PHOTOS].append(photo)
        elif here:
            earlier = found.pop(line.ref, None)
            if earlier and earlier.line.file != line.file:
                raise UserError(
                    f"{earlier.line.where} and {line.where} both label {line.ref}: take it out of one of the two, or "
                    f"move one of the manifests out of {root}"
                )
            if earlier:
                notes[_AGAIN].append(f"{photo}, {earlier.line.where}")
            found[line.ref] = Labelled(line, here[-1])
        elif line.file in labelled:
            why = next((f" ({label.failure})" for label in line.jobs() if label.failure), "")
            notes[UNLABELLED].append(f"{photo}{why}")
    without = dict.fromkeys(line.file for line in lines if line.file not in labelled)
    notes[_NO_LABELS] = [file.relative_to(root).as_posix() for file in without]
    notes[_OTHER_JOBS] = other
    return list(found.values())


def _labels_of(root: Path, lines: Sequence[Line], task: str) -> tuple[list[list[Label]], list[str]]:
    """The labels of each line for the task; and the names of those that are not the last in their line."""
    jobs = dict.fromkeys((label.name, label.type) for line in lines for label in line.jobs() if label.type in _TASKS)
    labels = [list(_typed(line, task) if jobs else _formed(line, task)) for line in lines]
    names = dict.fromkeys(label.name for here in labels for label in here)
    if not names or (not jobs and len(names) > 1):
        there = ", ".join(f"{name} ({kind})" for name, kind in jobs) or ", ".join(names) or "no labels"
        raise UserError(
            f"{root}: its manifests have {there}, and for {task} they need labels of one job of the type "
            f"{' or '.join(kind for kind, of in _TASKS.items() if of == task)}; or, where no label has a type, one "
            f"attribute that is {_FORMS[task]}"
        )
    return labels, list(dict.fromkeys(label.name for here in labels for label in here[:-1]))


def _typed(line: Line, task: str) -> Iterator[Label]:
    return (label for label in line.jobs() if _TASKS.get(label.type) == task and label.value is not None)


def _formed(line: Line, task: str) -> Iterator[Label]:
    is_label: Callable[[Label], bool] = {
        CLASSIFICATION: lambda label: numbers(label.value) is not None,
        DETECTION: lambda label: isinstance(label.value, dict) and "annotations" in label.value,
        SEGMENTATION: lambda label: label.name.endswith("-ref") and str(label.value).lower().endswith(".png"),
    }[task]
    return (label for label in line.attributes() if label.type != _VERIFICATION and is_label(label))
