"""Class folders: the name of a photo's folder is its class. There may be folders `train` and `val` above them.

    cat/1.jpg, dog/summer/2.jpg
    train/cat/1.jpg, val/dog/2.jpg      or training_set, Valid and the like; a folder test is left out

The rules are those of image-classification-tensorflow for its training channel. Labels apply to the upright photo.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from local.datasets.dataset import TRAIN, VALIDATION, DataSet, Labels, make_entries
from local.datasets.files import walk
from local.datasets.files.pairing import kinds
from local.errors import UserError
from train.classification import folders
from train.data import pairs
from train.data.channels import Channel
from train.data.parts import part_of
from train.data.samples import DataIssues
from train.errors import UserError as TrainUserError


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` holds class folders, or None."""
    # Photos directly in images/ or train/ have no class.
    if not any(folders.subfolders(path) or not _is_reserved(path.name) for path in _class_folders(root)):
        return None
    below = folders.subfolders(root)
    return f"it has the folders {', '.join(path.name for path in below[:5])}" if below else None


def classes(root: Path) -> list[str]:
    """Return the names of the class folders that hold photos, without names such as masks; [] if there is just one."""
    candidates = [path for path in _class_folders(root) if not _is_reserved(path.name)]
    names = [path.name for path in candidates if walk.list_files(path, pairs.IMAGE_SUFFIXES)]
    return names if len(names) > 1 else []


def classification(root: Path) -> DataSet[Labels]:
    """Read the class folders below `root`. Raise UserError naming the folder, its content and the fix."""
    channel, issues = Channel(str(root), root, "", "folder"), DataIssues()
    parts = folders.parts(channel)
    _refuse_wrapper(parts[TRAIN].path if parts else root)
    if not parts:
        _refuse_parts(root)
    try:
        listed = folders.read(channel, None, issues)
    except TrainUserError as error:
        raise UserError(str(error)) from None
    names = listed.class_names
    train = TRAIN if listed.validation else ""
    samples = [*((train, sample) for sample in listed.train), *((VALIDATION, sample) for sample in listed.validation)]
    photos = [(sample.path, part, (names[sample.label],), (names[sample.label],)) for part, sample in samples]
    notes = {reason: [name.removeprefix(f"{root}/") for name in files] for reason, files in issues.names.items()}
    return DataSet(root, make_entries(photos, in_folders=True), names, notes)


def _class_folders(root: Path) -> list[Path]:
    """Return the folders that would be classes. If there are parts, they are the folders of the training part."""
    parts = folders.parts(Channel(str(root), root, "", "folder"))
    return folders.subfolders(parts[TRAIN].path if parts else root)


def _is_reserved(name: str) -> bool:
    """Return whether a folder is named like a part, or like a standard folder of data sets such as masks."""
    return bool(part_of(name) or kinds(f"{name}/"))


def _refuse_wrapper(folder: Path) -> None:
    """Raise UserError if `folder` only wraps another folder with the class folders, as unpacked archives do."""
    inner = folder
    while len(below := folders.subfolders(inner)) == 1:
        inner = below[0]
    if below and inner != folder:
        raise UserError(
            f"{folder} has only one class folder, {folders.subfolders(folder)[0].name}/: if the classes are "
            f"{_names(below)} in {inner}, use --data {inner}"
        )


def _refuse_parts(root: Path) -> None:
    """Raise UserError if the names or contents of folders suggest that they are parts of a data set, not classes.

    Training on the parts as classes would succeed without a warning.
    """
    same: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    below = {path: folders.subfolders(path) for path in folders.subfolders(root)}
    for path, inner in below.items():
        same[tuple(folder.name for folder in inner)].append(path)
    named = {path: part_of(path.name) for path, inner in below.items() if inner and part_of(path.name)}
    for inside, alike in same.items():
        if inside and len(alike) > 1:
            raise UserError(
                f"{root} has the folders {_names(alike)}, which all hold {', '.join(inside[:5])}: if those are the "
                "classes, rename the outer folders to train and val and remove other folders, or give one of them as "
                "--data; if not, put the photos directly into the class folders"
            )
    parts = {part_of(path.name) for path in below}
    if len(set(named.values())) > 1 or (len(parts) > 1 and "" not in parts):
        raise UserError(
            f"{root} has the folders {_names(list(below))}, but a data set with parts can have only one train, one "
            "val and one test folder, each with class folders: remove or rename the others"
        )


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(path.name for path in paths[:5]) + more
