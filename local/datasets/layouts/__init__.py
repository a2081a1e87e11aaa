"""The layouts that data sets have: which one a folder is in, and reading it. `prepare`, `demo` and others take them."""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from local.datasets.dataset import CLASSIFICATION, DETECTION, SEGMENTATION, DataSet
from local.datasets.layouts import class_folders, mask_folders, pets
from local.datasets.layouts.coco import reader as coco
from local.datasets.layouts.ground_truth import reader as ground_truth
from local.datasets.layouts.lists import reader as lists
from local.datasets.layouts.tables import reader as tables
from local.datasets.layouts.voc import reader as voc
from local.datasets.layouts.yolo import reader as yolo
from local.errors import UserError

Reader = Callable[[Path], DataSet[Any]]


class Layout(NamedTuple):
    """A layout in words, how a folder is recognised (how one sees it, in words, or None), and its reader by task."""

    words: str
    recognise: Callable[[Path], str | None]
    readers: Mapping[str, Callable[..., DataSet[Any]]]


PETS = "pets"
LAYOUTS = {
    "lists": Layout(
        ".lst files of im2rec and of SageMaker's built-in: index, label or packed boxes, path, with tabs",
        lists.recognise,
        {CLASSIFICATION: lists.classification, DETECTION: lists.detection},
    ),
    "tables": Layout(
        "a CSV, TSV or JSON Lines file with a column for the photos' paths and one or several for their labels",
        tables.recognise,
        {CLASSIFICATION: tables.classification},
    ),
    "ground-truth": Layout(
        "output manifests of SageMaker Ground Truth: output.manifest and the photos that it names",
        ground_truth.recognise,
        {
            CLASSIFICATION: ground_truth.classification,
            DETECTION: ground_truth.detection,
            SEGMENTATION: ground_truth.segmentation,
        },
    ),
    "coco": Layout(
        "COCO's JSON: annotations/instances_train2017.json, train2017/; or train/_annotations.coco.json beside photos",
        coco.recognise,
        {DETECTION: coco.detection, SEGMENTATION: coco.segmentation},
    ),
    "yolo": Layout(
        "YOLO's text files: images/1.jpg, labels/1.txt, data.yaml", yolo.recognise, {DETECTION: yolo.detection}
    ),
    PETS: Layout(
        "the Oxford-IIIT Pet data set: images/, annotations/",
        pets.recognise,
        {CLASSIFICATION: pets.classification, DETECTION: pets.detection, SEGMENTATION: pets.segmentation},
    ),
    "voc": Layout(
        "PASCAL VOC: JPEGImages/a.jpg with Annotations/a.xml or SegmentationClass/a.png, or a.xml anywhere",
        voc.recognise,
        {CLASSIFICATION: voc.classification, DETECTION: voc.detection, SEGMENTATION: voc.segmentation},
    ),
    "mask-folders": Layout(
        "masks with the base names of photos: images/a.jpg and masks/a.png, or a.jpg and a_mask.png",
        mask_folders.recognise,
        {SEGMENTATION: mask_folders.segmentation},
    ),
    "class-folders": Layout(
        "class folders: cat/1.jpg, or train/cat/1.jpg and val/cat/2.jpg",
        class_folders.recognise,
        {CLASSIFICATION: class_folders.classification},
    ),
}
"""By the name that --layout takes, the first that is recognised counts: what many folders look like comes last."""
_NEEDS = {CLASSIFICATION: "class for each photo", DETECTION: "boxes", SEGMENTATION: "masks"}


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The option --layout."""
    names = "; ".join(f"{name}: {layout.words}" for name, layout in LAYOUTS.items())
    parser.add_argument("--layout", choices=LAYOUTS, help=f"{names}; default: whichever is recognised")


class Found(NamedTuple):
    """Where a data set is, the name of its layout, and how that is known."""

    root: Path
    name: str
    how: str

    def __str__(self) -> str:
        return f"{self.root} is read as {self.name}: {self.how}"

    def read(self, task: str, pet_classes: str | None = None) -> DataSet[Any]:
        """Read what the data set has for a task, one of dataset.TASKS; pets are told apart by `pet_classes`.

        Raises UserError when it has nothing for the task, and what the layout raises.
        """
        readers = LAYOUTS[self.name].readers
        if task not in readers:
            others = [name for name, layout in LAYOUTS.items() if task in layout.readers]
            raise UserError(
                f"{self.root} is read as {self.name} ({self.how}), which has no {_NEEDS[task]}: "
                f"{task} takes {', '.join(others)}"
            )
        reader: Reader = readers[task]
        if self.name == PETS and pet_classes is not None:
            reader = partial(readers[task], classes=pet_classes)
        return reader(self.root)


def find(root: Path, layout: str | None = None) -> Found:
    """Return the layout of `root`, the one given or the one recognised. Raises UserError when there is none."""
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the one that holds the data set")
    if layout is not None:
        return Found(root, layout, "--layout says so")
    for name, one in LAYOUTS.items():
        if how := one.recognise(root):
            return Found(root, name, how)
    known = "; ".join(layout.words for layout in LAYOUTS.values())
    raise UserError(f"{root} has no layout that is known: {known}")
