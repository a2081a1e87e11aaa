"""YOLO's text files: for each photo a .txt with its boxes, and a file that names the classes.

    images/train/1.jpg, labels/train/1.txt, images/val/2.jpg, labels/val/2.txt, data.yaml        ultralytics
    train/images/1.jpg, train/labels/1.txt, valid/images/2.jpg, valid/labels/2.txt, data.yaml    Roboflow
    images/1.jpg, labels/1.txt, classes.txt                                                      Label Studio
    obj_train_data/1.jpg, obj_train_data/1.txt, obj.names                                        Darknet, CVAT

The numbers are fractions of the upright photo: ultralytics reads photos by OpenCV, which turns them as EXIF says, and
swaps their width and height accordingly (exif_size in ultralytics/data/utils.py).
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
_TRIES, _BEGIN = 10, 400


def recognise(root: Path) -> str | None:
    """Return which file shows that `root` holds YOLO's labels, None without one."""
    labels = filter(None, _labels(path_suffixes.photos(root).names, walk.list_files(root, (".txt",))).values())
    begins = ((label, texts.first_bytes(root / label, _BEGIN)) for label in labels)
    for label, begin in islice(((label, begin) for label, begin in begins if begin.strip()), _TRIES):
        if label_file.looks_like_labels(begin):
            return f"{label} has lines of a class number and fractions"
    return None


def detection(root: Path) -> DataSet[Annotation]:
    """Read the boxes of all label files; a photo whose file is empty or missing is background.

    A photo or label file with an error is left out. Raises UserError naming file, line and value for more of them than
    others, and for names that cannot be read.
    """
    photos, files = path_suffixes.photos(root), walk.list_files(root, (".txt",))
    about = data_yaml.read(root, photos)
    labels = _labels(photos.names, files)
    parts = {photo: about.part(photo) for photo in labels}
    alone = set(files).difference(filter(None, labels.values()))
    notes: Notes = {
        ELSEWHERE: [photo for photo in photos.names if photo not in labels],
        without_photo("label file"): [
            file for file in sorted(alone) if label_file.looks_like_labels(texts.first_bytes(root / file, _BEGIN))
        ],
        TEST_PHOTOS: [photo for photo, part in parts.items() if part == TEST],
    }
    found = _read(root, {photo: label for photo, label in labels.items() if parts[photo] != TEST}, about, notes)
    numbers = sorted({line.number for lines in found.values() for line in lines})
    if not numbers:
        raise UserError(f"{root} has no box: a line of a label file is `class cx cy width height`")
    names = about.names or {number: str(number) for number in numbers}
    known = {photo: _annotation(labels[photo] or photo, lines, names) for photo, lines in found.items()}
    made = make_entries((root / photo, parts[photo], one, one.classes) for photo, one in known.items())
    return DataSet(root, made, tuple(dict.fromkeys(names[number] for number in sorted(names))), notes)


def _read(root: Path, labels: Mapping[str, str | None], about: data_yaml.About, notes: Notes) -> dict[str, list[Line]]:
    """The lines of each photo's label file. What cannot be used is left out; what they have besides boxes is noted."""
    owners = Counter(labels.values())

    def read(photo: str) -> list[Line]:
        label = labels[photo]
        if label is None:
            return []
        if owners[label] > 1:
            raise UserError(f"{label} is of {photo.rpartition('/')[2]} and another photo: rename one of the two")
        lines = label_file.read(root / label, label, about.keypoints)
        unknown = [line.number for line in lines if about.names is not None and line.number not in about.names]
        if unknown:
            raise UserError(f"{label} has the class {unknown[0]}, which {about.file} does not name: add it there")
        return lines

    found = dict(read_usable(labels, read, root, notes))
    for photo, lines in found.items():
        for line in lines:
            if line.remark:
                notes.setdefault(line.remark, []).append(str(labels[photo]))
    return found


def _annotation(source: str, lines: list[Line], names: Mapping[int, str]) -> Annotation:
    return Annotation(
        source, tuple(LabelledBox(names[line.number], line.box) for line in lines), FRACTIONS, upright=True
    )


def _labels(photos: Sequence[str], files: Sequence[str]) -> dict[str, str | None]:
    """The label file of each photo; None for one without in a folder whose other photos have them, or in `images`."""
    by_key = {key(file): file for file in files}  # of two with one key that in `labels`, not in `images`
    found = {photo: by_key.get(key(photo)) for photo in photos}
    folders = {photo.rpartition("/")[0] for photo, label in found.items() if label}
    above = {(one.part, one.folders[:depth]) for one in by_key for depth in range(len(one.folders) + 1)}

    def belongs(photo: str) -> bool:
        own = key(photo)
        places = ((own.part, own.folders[:depth]) for depth in range(len(own.folders) + 1))
        return photo.rpartition("/")[0] in folders or (PHOTOS in kinds(photo) and any(one in above for one in places))

    return {photo: label for photo, label in found.items() if label or belongs(photo)}
