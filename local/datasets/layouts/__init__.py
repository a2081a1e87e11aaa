"""The layouts that data sets have: which one a folder is in, and reading it. `prepare`, `demo` and others take them."""

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


def _layout(words: str, module: ModuleType) -> Layout:
    """The layout that a module reads: its function `recognise`, and one of the name of each task that it is for."""
    readers = {task: getattr(module, task) for task in TASKS if hasattr(module, task)}
    return Layout(words, module.recognise, readers, getattr(module, "overrides_class_folders", lambda root: True))


PETS, CLASS_FOLDERS = "pets", "class-folders"
LAYOUTS = {
    "lists": _layout(
        ".lst files of im2rec and of SageMaker's built-in: index, label or packed boxes, path, with tabs", lists
    ),
    "tables": _layout(
        "a CSV, TSV or JSON Lines file with a column for the photos' paths and one or several for their labels", tables
    ),
    "ground-truth": _layout(
        "output manifests of SageMaker Ground Truth: output.manifest and the photos that it names", ground_truth
    ),
    "coco": _layout(
        "COCO's JSON: annotations/instances_train2017.json, train2017/; or train/_annotations.coco.json beside photos",
        coco,
    ),
    "yolo": _layout("YOLO's text files: images/1.jpg, labels/1.txt, data.yaml", yolo),
    PETS: _layout("the Oxford-IIIT Pet data set: images/, annotations/", pets),
    "voc": _layout(
        "PASCAL VOC: JPEGImages/a.jpg with Annotations/a.xml or SegmentationClass/a.png, or a.xml anywhere", voc
    ),
    "mask-folders": _layout(
        "masks with the base names of photos: images/a.jpg and masks/a.png, or a.jpg and a_mask.png", mask_folders
    ),
    CLASS_FOLDERS: _layout("class folders: cat/1.jpg, or train/cat/1.jpg and val/cat/2.jpg", class_folders),
}
"""By the name that --layout takes, the first that is recognised counts: what many folders look like comes last."""
_NEEDS = {CLASSIFICATION: "class for each photo", DETECTION: "boxes", SEGMENTATION: "masks"}


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The option --layout."""
    names = "; ".join(f"{name}: {layout.description}" for name, layout in LAYOUTS.items())
    parser.add_argument("--layout", choices=LAYOUTS, help=f"{names}; default: whichever is recognised")


class DetectedLayout(NamedTuple):
    """Where a data set is, the name of its layout, and how that is known."""

    root: Path
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.root} is read as {self.name}: {self.reason}"

    def read(self, task: str, pet_classes: str | None = None) -> DataSet[Any]:
        """Read what the data set has for a task, one of dataset.TASKS; `pet_classes` are the classes of pets.

        Raises UserError when it has nothing for the task, and what the layout raises.
        """
        readers = LAYOUTS[self.name].readers
        if task not in readers:
            raise UserError(
                f"{self.root} is read as {self.name} ({self.reason}), which has no {_NEEDS[task]}: {task} takes "
                f"{_known(task)}. If it is one of these, --layout NAME says what it lacks"
            )
        options = {"classes": pet_classes} if self.name == PETS and pet_classes is not None else {}
        try:
            data = readers[task](self.root, **options)
        except UserError as error:
            # Any folders may be class folders: what was meant may be a table beside them.
            miss = tables.nearest_miss(self.root) if self.name == CLASS_FOLDERS else ""
            raise UserError(f"{error}{miss and f'; {miss}'}") from None
        if data.multi_label and len(data.class_names) == 1:
            name = data.class_names[0]
            raise UserError(
                f"{self.root}: {name} is the only label: several labels a photo need two classes or more; give photos "
                f"without it a label of their own, such as no {name}"
            )
        return data


def detect(root: Path, layout: str | None = None, task: str | None = None) -> DetectedLayout:
    """Return the layout of `root`, the one given or the one recognised: one that has something for `task` if there is.

    Raises UserError when there is none, and when classes may be those of class folders as well as of a table.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the one that holds the data set")
    if layout is not None:
        return DetectedLayout(root, layout, "--layout says so")
    folders = class_folders.classes(root) if task == CLASSIFICATION else []
    in_order = sorted(LAYOUTS.items(), key=lambda item: task is not None and task not in item[1].readers)
    for name, one in in_order:
        if not (how := one.recognise(root)):
            continue
        overrides = one.overrides_class_folders(root) if folders else True
        if overrides is None:
            raise UserError(
                f"{root} has both {name} ({how}) and class folders ({', '.join(folders[:5])}), and the classes may be "
                f"those of either: choose with --layout {name} or --layout {CLASS_FOLDERS}"
            )
        if overrides:
            return DetectedLayout(root, name, how)
    miss = tables.nearest_miss(root)
    raise UserError(f"{root} {_holds(root)}{miss and f' ({miss})'}: {_known(task)}")


def _known(task: str | None) -> str:
    """The layouts that have something for a task, in words."""
    layouts = LAYOUTS.items()
    return "; ".join(f"{name}: {one.description}" for name, one in layouts if task is None or task in one.readers)


def _holds(root: Path) -> str:
    """What a folder holds that is in no layout."""
    files = walk.list_files(root)
    if not files:
        return "is empty: put photos there, with what is known of them, in a layout that is known"
    photos = sum(map(walk.is_photo, files))
    if not photos:
        return f"has no photos, only such files as {files[0]}, and is in no layout that is known"
    return f"has {plural(photos, 'photo')} and no labels of them, or is in no layout that is known"
