"""Detect the layout of a data set and read it."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from local.datasets.dataset import CLASSIFICATION, DETECTION, SEGMENTATION, TASKS, DataSet
from local.datasets.files import walk
from local.datasets.layouts import class_folders, mask_folders
from local.datasets.layouts.coco import reader as coco
from local.datasets.layouts.ground_truth import reader as ground_truth
from local.datasets.layouts.lists import reader as lists
from local.datasets.layouts.pets import reader as pets
from local.datasets.layouts.tables import reader as tables
from local.datasets.layouts.voc import reader as voc
from local.datasets.layouts.yolo import reader as yolo
from local.errors import UserError
from serve.words import plural


class Layout(NamedTuple):
    """A layout: its description, how to recognise it, and its reader for each task.

    `recognise` returns the evidence in words, or None. `overrides_class_folders` returns whether this layout gives the
    classes of photos that are also in class folders, or None if that is unclear.
    """

    description: str
    recognise: Callable[[Path], str | None]
    readers: Mapping[str, Callable[..., DataSet[Any]]]
    overrides_class_folders: Callable[[Path], bool | None]


def _layout(description: str, module: ModuleType) -> Layout:
    """Return the layout of a module with a function `recognise` and a reader named after each of its tasks."""
    readers = {task: getattr(module, task) for task in TASKS if hasattr(module, task)}
    return Layout(description, module.recognise, readers, getattr(module, "overrides_class_folders", lambda root: True))


PETS, CLASS_FOLDERS = "pets", "class-folders"
LAYOUTS = {
    "lists": _layout(
        ".lst files of im2rec and SageMaker's built-in algorithms, with tabs: index, label or packed boxes, path", lists
    ),
    "tables": _layout(
        "a CSV, TSV or JSON Lines file with a column for photo paths and one or more columns for labels", tables
    ),
    "ground-truth": _layout("output manifests of SageMaker Ground Truth: output.manifest and its photos", ground_truth),
    "coco": _layout(
        "COCO's JSON: annotations/instances_train2017.json, train2017/; or train/_annotations.coco.json next to photos",
        coco,
    ),
    "yolo": _layout("YOLO's text files: images/1.jpg, labels/1.txt, data.yaml", yolo),
    PETS: _layout("the Oxford-IIIT Pet data set: images/, annotations/", pets),
    "voc": _layout(
        "PASCAL VOC: JPEGImages/a.jpg with Annotations/a.xml or SegmentationClass/a.png, or a.xml anywhere", voc
    ),
    "mask-folders": _layout(
        "masks with the same base names as photos: images/a.jpg and masks/a.png, or a.jpg and a_mask.png", mask_folders
    ),
    CLASS_FOLDERS: _layout("class folders: cat/1.jpg, or train/cat/1.jpg and val/cat/2.jpg", class_folders),
}
"""Layouts by their name in --layout. The first one recognised is used, so the least specific ones come last."""
_TARGET_NAMES = {CLASSIFICATION: "class for each photo", DETECTION: "boxes", SEGMENTATION: "masks"}


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option --layout."""
    names = "; ".join(f"{name}: {layout.description}" for name, layout in LAYOUTS.items())
    parser.add_argument("--layout", choices=LAYOUTS, help=f"{names}; default: the one that is recognised")


class DetectedLayout(NamedTuple):
    """The folder of a data set, the name of its layout, and the reason for choosing it."""

    root: Path
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.root} is read as {self.name}: {self.reason}"

    def read(self, task: str, pet_classes: str | None = None) -> DataSet[Any]:
        """Read the data set for a task, one of dataset.TASKS. `pet_classes` selects the classes of the pets layout.

        Raise UserError if the layout does not support the task or its reader fails.
        """
        readers = LAYOUTS[self.name].readers
        if task not in readers:
            raise UserError(
                f"{self.root} is read as {self.name} ({self.reason}), which has no {_TARGET_NAMES[task]}: {task} takes "
                f"{_supported(task)}. If it is one of these, --layout NAME shows what is missing"
            )
        options = {"classes": pet_classes} if self.name == PETS and pet_classes is not None else {}
        try:
            data = readers[task](self.root, **options)
        except UserError as error:
            # Any folders can be class folders. The user may have meant a table next to them.
            miss = tables.nearest_miss(self.root) if self.name == CLASS_FOLDERS else ""
            raise UserError(f"{error}{miss and f'; {miss}'}") from None
        if data.multi_label and len(data.class_names) == 1:
            name = data.class_names[0]
            raise UserError(
                f"{self.root}: {name} is the only label, and multi-label data needs at least two classes: give the "
                f"photos without it a label such as no {name}"
            )
        return data


def detect(root: Path, layout: str | None = None, task: str | None = None) -> DetectedLayout:
    """Return `layout` if given, else the layout recognised in `root`, preferring layouts that support `task`.

    Raise UserError if there is none, or if the classes may come from class folders or from another layout.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the folder of the data set")
    if layout is not None:
        return DetectedLayout(root, layout, "set by --layout")
    folders = class_folders.classes(root) if task == CLASSIFICATION else []
    ordered = sorted(LAYOUTS.items(), key=lambda item: task is not None and task not in item[1].readers)
    for name, candidate in ordered:
        if not (reason := candidate.recognise(root)):
            continue
        overrides = candidate.overrides_class_folders(root) if folders else True
        if overrides is None:
            raise UserError(
                f"{root} has both {name} ({reason}) and class folders ({', '.join(folders[:5])}), and the classes may "
                f"come from either: choose with --layout {name} or --layout {CLASS_FOLDERS}"
            )
        if overrides:
            return DetectedLayout(root, name, reason)
    miss = tables.nearest_miss(root)
    raise UserError(f"{root} {_unknown_layout(root)}{miss and f' ({miss})'}: {_supported(task)}")


def _supported(task: str | None) -> str:
    """Describe the layouts that support a task."""
    layouts = [(name, layout) for name, layout in LAYOUTS.items() if task is None or task in layout.readers]
    return "; ".join(f"{name}: {layout.description}" for name, layout in layouts)


def _unknown_layout(root: Path) -> str:
    """Describe a folder that is in no known layout."""
    files = walk.list_files(root)
    if not files:
        return "is empty: put photos and their annotations there, in a supported layout"
    photos = sum(map(walk.is_photo, files))
    if not photos:
        return f"has no photos, only files such as {files[0]}, and is not in a supported layout"
    return f"has {plural(photos, 'photo')} but no labels, or is not in a supported layout"
