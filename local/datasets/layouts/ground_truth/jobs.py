"""Choose the label of each manifest line: the label of the last job whose type matches the task."""

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
    SEGMENTATION: "the URI of a PNG, in a key that ends in -ref",
}
_NO_LABELS = "manifests without labels, left out"
_OTHER_JOBS = "labels with a later label in the same line, not used"
_AGAIN = "photos listed in several lines, last label used"


class Labelled(NamedTuple):
    """A line and its label for a task."""

    line: Line
    label: Label


def choose(root: Path, lines: Sequence[Line], task: str, notes: Notes) -> list[Labelled]:
    """Return the lines that have a label for `task`, one of dataset.TASKS, and note the others.

    If no job recorded a type, the label is the only attribute whose value has the form for the task. If a manifest
    lists a photo several times, use the last line. Raise UserError if there are no labels for the task, if the choice
    is ambiguous, or if two manifests label the same photo.
    """
    labels, unused = _find_labels(root, lines, task)
    found: dict[str, Labelled] = {}
    notes[UNLABELLED], notes[_AGAIN], notes[TEST_PHOTOS] = [], [], []
    labelled = {line.file for line, line_labels in zip(lines, labels, strict=True) if line_labels}
    for line, line_labels in zip(lines, labels, strict=True):
        photo = line.ref.replace("\\", "/").rpartition("/")[2]
        if line.part == TEST:
            notes[TEST_PHOTOS].append(photo)
        elif line_labels:
            earlier = found.pop(line.ref, None)
            if earlier and earlier.line.file != line.file:
                raise UserError(
                    f"{earlier.line.where} and {line.where} both label {line.ref}: remove it from one of them, or "
                    f"move one of the manifests out of {root}"
                )
            if earlier:
                notes[_AGAIN].append(f"{photo}, {earlier.line.where}")
            found[line.ref] = Labelled(line, line_labels[-1])
        elif line.file in labelled:
            reason = next((f" ({label.failure})" for label in line.jobs() if label.failure), "")
            notes[UNLABELLED].append(f"{photo}{reason}")
    without = dict.fromkeys(line.file for line in lines if line.file not in labelled)
    notes[_NO_LABELS] = [file.relative_to(root).as_posix() for file in without]
    notes[_OTHER_JOBS] = unused
    return list(found.values())


def _find_labels(root: Path, lines: Sequence[Line], task: str) -> tuple[list[list[Label]], list[str]]:
    """Return the labels of each line for the task, and the names of labels that precede another one in their line."""
    jobs = dict.fromkeys((label.name, label.type) for line in lines for label in line.jobs() if label.type in _TASKS)
    labels = [list(_typed(line, task) if jobs else _formed(line, task)) for line in lines]
    names = dict.fromkeys(label.name for line_labels in labels for label in line_labels)
    if not names or (not jobs and len(names) > 1):
        existing = ", ".join(f"{name} ({kind})" for name, kind in jobs) or ", ".join(names) or "no labels"
        types = " or ".join(kind for kind, job_task in _TASKS.items() if job_task == task)
        raise UserError(
            f"{root}: its manifests have {existing}, and {task} needs labels of one job of the type {types}; or, if no "
            f"label has a type, exactly one attribute that is {_FORMS[task]}"
        )
    return labels, list(dict.fromkeys(label.name for line_labels in labels for label in line_labels[:-1]))


def _typed(line: Line, task: str) -> Iterator[Label]:
    return (label for label in line.jobs() if _TASKS.get(label.type) == task and label.value is not None)


def _formed(line: Line, task: str) -> Iterator[Label]:
    is_label: Callable[[Label], bool] = {
        CLASSIFICATION: lambda label: numbers(label.value) is not None,
        DETECTION: lambda label: isinstance(label.value, dict) and "annotations" in label.value,
        SEGMENTATION: lambda label: label.name.endswith("-ref") and str(label.value).lower().endswith(".png"),
    }[task]
    return (label for label in line.attributes() if label.type != _VERIFICATION and is_label(label))
