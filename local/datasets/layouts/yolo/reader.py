"""YOLO's text files: a .txt with boxes for each photo, and a file with the class names.

    images/train/1.jpg, labels/train/1.txt, images/val/2.jpg, labels/val/2.txt, data.yaml        ultralytics
    train/images/1.jpg, train/labels/1.txt, valid/images/2.jpg, valid/labels/2.txt, data.yaml    Roboflow
    images/1.jpg, labels/1.txt, classes.txt                                                      Label Studio
    obj_train_data/1.jpg, obj_train_data/1.txt, obj.names                                        Darknet, CVAT

The numbers are fractions of the upright photo: ultralytics reads photos with OpenCV, which applies EXIF orientation,
and swaps their width and height accordingly (exif_size in ultralytics/data/utils.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from local.datasets.dataset import FRACTIONS, Annotation, DataSet, LabelledBox, make_entries
from local.datasets.files import path_suffixes, texts, walk
from local.datasets.files.pairing import PHOTOS, key, kinds
from local.datasets.layouts.yolo import data_yaml, label_file
from local.datasets.layouts.yolo.label_file import Line
from local.datasets.notes import TEST_PHOTOS, Notes, read_usable, without_photo
from local.errors import UserError
from train.data.parts import TEST

ELSEWHERE = "photos in folders without label files, left out"
_MAX_FILES, _START_BYTES = 10, 400


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` holds YOLO's labels, or None."""
    labels = filter(None, _labels(path_suffixes.photos(root).names, walk.list_files(root, (".txt",))).values())
    starts = ((label, texts.first_bytes(root / label, _START_BYTES)) for label in labels)
    for label, start in islice(((label, start) for label, start in starts if start.strip()), _MAX_FILES):
        if label_file.looks_like_labels(start):
            return f"{label} has lines of a class number and fractions"
    return None


def detection(root: Path) -> DataSet[Annotation]:
    """Read the boxes of all label files. A photo whose file is empty or missing is background.

    Leave out photos whose label files have errors. Raise UserError naming file, line and value if these are the
    majority, or if the class names cannot be read.
    """
    photos, files = path_suffixes.photos(root), walk.list_files(root, (".txt",))
    info = data_yaml.read(root, photos)
    labels = _labels(photos.names, files)
    parts = {photo: info.part(photo) for photo in labels}
    unpaired = set(files).difference(filter(None, labels.values()))
    notes: Notes = {
        ELSEWHERE: [photo for photo in photos.names if photo not in labels],
        without_photo("label file"): [
            file
            for file in sorted(unpaired)
            if label_file.looks_like_labels(texts.first_bytes(root / file, _START_BYTES))
        ],
        TEST_PHOTOS: [photo for photo, part in parts.items() if part == TEST],
    }
    lines_of = _read(root, {photo: label for photo, label in labels.items() if parts[photo] != TEST}, info, notes)
    numbers = sorted({line.number for lines in lines_of.values() for line in lines})
    if not numbers:
        raise UserError(f"{root} has no boxes: add lines `class cx cy width height` to its label files")
    names = info.names or {number: str(number) for number in numbers}
    targets = {photo: _annotation(labels[photo] or photo, lines, names) for photo, lines in lines_of.items()}
    entries = make_entries((root / photo, parts[photo], target, target.classes) for photo, target in targets.items())
    return DataSet(root, entries, tuple(dict.fromkeys(names[number] for number in sorted(names))), notes)


def _read(
    root: Path, labels: Mapping[str, str | None], info: data_yaml.DatasetInfo, notes: Notes
) -> dict[str, list[Line]]:
    """Return the lines of each photo's label file. Leave out files with errors, and note content other than boxes."""
    owners = Counter(labels.values())

    def read(photo: str) -> list[Line]:
        label = labels[photo]
        if label is None:
            return []
        if owners[label] > 1:
            raise UserError(
                f"{label} belongs to {photo.rpartition('/')[2]} and another photo: rename one of the photos"
            )
        lines = label_file.read(root / label, label, info.keypoints)
        unknown = [line.number for line in lines if info.names is not None and line.number not in info.names]
        if unknown:
            raise UserError(f"{label} has the class {unknown[0]}, which is not in {info.file}: add it there")
        return lines

    lines_of = dict(read_usable(labels, read, root, notes))
    for photo, lines in lines_of.items():
        for line in lines:
            if line.remark:
                notes.setdefault(line.remark, []).append(str(labels[photo]))
    return lines_of


def _annotation(source: str, lines: list[Line], names: Mapping[int, str]) -> Annotation:
    return Annotation(
        source, tuple(LabelledBox(names[line.number], line.box) for line in lines), FRACTIONS, upright=True
    )


def _labels(photos: Sequence[str], files: Sequence[str]) -> dict[str, str | None]:
    """Return the label file of each photo.

    A photo without one gets None if its folder has labels or is `images`, and is left out otherwise.
    """
    by_key = {key(file): file for file in files}  # if keys are equal, `labels` wins over `images`
    paired = {photo: by_key.get(key(photo)) for photo in photos}
    folders = {photo.rpartition("/")[0] for photo, label in paired.items() if label}
    ancestors = {(item.part, item.folders[:depth]) for item in by_key for depth in range(len(item.folders) + 1)}

    def belongs(photo: str) -> bool:
        item = key(photo)
        prefixes = ((item.part, item.folders[:depth]) for depth in range(len(item.folders) + 1))
        return photo.rpartition("/")[0] in folders or (
            PHOTOS in kinds(photo) and any(prefix in ancestors for prefix in prefixes)
        )

    return {photo: label for photo, label in paired.items() if label or belongs(photo)}
