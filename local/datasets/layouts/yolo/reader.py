"""YOLO's text files: for each photo a .txt with its boxes, and a file that names the classes.

    images/train/1.jpg, labels/train/1.txt, images/val/2.jpg, labels/val/2.txt, data.yaml        ultralytics
    train/images/1.jpg, train/labels/1.txt, valid/images/2.jpg, valid/labels/2.txt, data.yaml    Roboflow
    images/1.jpg, labels/1.txt, classes.txt                                                      Label Studio
    obj_train_data/1.jpg, obj_train_data/1.txt, obj.names                                        Darknet, CVAT

The numbers are fractions of the upright photo: ultralytics reads photos by OpenCV, which turns them as EXIF says, and
swaps their width and height accordingly (exif_size in ultralytics/data/utils.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from local.datasets.dataset import FRACTIONS, UNUSABLE, Annotation, DataSet, Thing, entries, require_usable
from local.datasets.files import ends, texts, walk
from local.datasets.files.ends import Files
from local.datasets.files.parts import TEST
from local.datasets.layouts.yolo import data_yaml, label_file
from local.datasets.layouts.yolo.label_file import Line
from local.datasets.notes import TEST_PHOTOS, Notes, without_photo
from local.errors import UserError

ELSEWHERE = "photos in folders without label files, left out"
_FOLDERS = {"images": "labels", "Images": "Labels"}
_TRIES, _BEGIN = 10, 400


def recognise(root: Path) -> str | None:
    """Return which file shows that `root` holds YOLO's labels, None without one."""
    files = _texts(root)
    tries = 0
    for photo in ends.photos(root).paths:
        label = _label_file(photo, root, files)
        begin = texts.begin(label, _BEGIN) if label else b""
        if label and label_file.looks_like_labels(begin):
            return f"{_place(label, root)} has lines of a class number and fractions"
        tries += bool(begin.strip())
        if tries == _TRIES:
            break
    return None


def detection(root: Path) -> DataSet[Annotation]:
    """Read the boxes of all label files; a photo whose file is empty or missing is background.

    A photo or label file with an error is left out. Raises UserError naming file, line and value for more of them than
    others, and for names that cannot be read.
    """
    photos, files = ends.photos(root), _texts(root)
    about = data_yaml.read(root, photos)
    labels = _labels(photos, files)
    parts = {photo: about.part(photo, root) for photo in labels}
    notes = {
        ELSEWHERE: [photo.name for photo in photos.paths if photo not in labels],
        without_photo("label file"): [_place(path, root) for path in _without_photo(labels, files)],
        TEST_PHOTOS: [photo.name for photo, part in parts.items() if part == TEST],
        **{remark: [] for remark in (UNUSABLE, label_file.POLYGONS, label_file.SCORES, label_file.KEYPOINTS)},
    }
    found = _read({photo: label for photo, label in labels.items() if parts[photo] != TEST}, root, about, notes)
    numbers = sorted({line.number for lines in found.values() for line in lines})
    if not numbers:
        raise UserError(f"{root} has no box: a line of a label file is `class cx cy width height`")
    names = about.names or {number: str(number) for number in numbers}
    classes = [[names[line.number] for line in lines] for lines in found.values()]
    known = [_annotation(_place(labels[photo] or photo, root), lines, names) for photo, lines in found.items()]
    made = entries([*found], known, [parts[photo] for photo in found], classes)
    return DataSet(root, made, tuple(dict.fromkeys(names[number] for number in sorted(names))), notes)


def _read(
    labels: Mapping[Path, Path | None], root: Path, about: data_yaml.About, notes: Notes
) -> dict[Path, list[Line]]:
    """The lines of each photo's label file. What cannot be used is left out; what they have besides boxes is noted."""
    owners = Counter(labels.values())
    found: dict[Path, list[Line]] = {}
    for photo, label in labels.items():
        if label is None:
            found[photo] = []
            continue
        source = _place(label, root)
        try:
            if owners[label] > 1:
                raise UserError(f"{source} is of {photo.name} and another photo: rename one of the two")
            lines = label_file.read(label, source, about.keypoints)
            unknown = [line.number for line in lines if about.names is not None and line.number not in about.names]
            if unknown:
                raise UserError(f"{source} has the class {unknown[0]}, which {about.file} does not name: add it there")
        except UserError as error:
            notes[UNUSABLE].append(str(error))
            continue
        found[photo] = lines
        for line in lines:
            if line.remark:
                notes[line.remark].append(source)
    require_usable(root, len(found), notes[UNUSABLE])
    return found


def _annotation(source: str, lines: list[Line], names: Mapping[int, str]) -> Annotation:
    return Annotation(source, tuple(Thing(names[line.number], line.box) for line in lines), FRACTIONS, upright=True)


def _labels(photos: Files, files: Mapping[str, Path]) -> dict[Path, Path | None]:
    """The label file of each photo; None for one without in a folder whose other photos have them, or in `images`."""
    found = {photo: _label_file(photo, photos.root, files) for photo in photos.paths}
    with_labels = {photo.parent for photo, label in found.items() if label}
    above = {folder for path in files.values() for folder in path.parents}

    def belongs(folder: Path) -> bool:
        swaps = (one.with_name(_FOLDERS[one.name]) for one in (folder, *folder.parents) if one.name in _FOLDERS)
        return folder in with_labels or any(swap in above for swap in swaps)

    return {photo: label for photo, label in found.items() if label or belongs(photo.parent)}


def _label_file(photo: Path, root: Path, files: Mapping[str, Path]) -> Path | None:
    """The label file of a photo: in `labels` where it is in `images`, with the same folders below; else beside it."""
    beside = photo.relative_to(root).with_suffix(".txt")
    for at in range(len(beside.parts) - 2, -1, -1):
        if swap := _FOLDERS.get(beside.parts[at]):
            label = files.get("/".join([*beside.parts[:at], swap, *beside.parts[at + 1 :]]))
            return label or files.get(beside.as_posix())
    return files.get(beside.as_posix())


def _without_photo(labels: Mapping[Path, Path | None], files: Mapping[str, Path]) -> Iterator[Path]:
    paired = set(labels.values())
    for path in files.values():
        if path not in paired and label_file.looks_like_labels(texts.begin(path, _BEGIN)):
            yield path


def _texts(root: Path) -> dict[str, Path]:
    """The text files below `root`, by their path in it."""
    return {name: root / name for name in walk.below(root, (".txt",))}


def _place(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
