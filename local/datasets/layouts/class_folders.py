"""Class folders: photos whose folder's name is their class, in one part or in folders `train` and `val`.

    cat/1.jpg, dog/summer/2.jpg
    train/cat/1.jpg, val/dog/2.jpg      or training_set, Valid and the like; a folder test is left out

Read as image-classification-tensorflow reads them in a channel. EXIF is heeded: what counts is the upright photo.
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
    """Return how one sees that `root` holds class folders, None if it does not."""
    # Photos right in images/ or train/ have no class.
    if not any(folders.subfolders(path) or not _means_else(path.name) for path in _class_folders(root)):
        return None
    below = folders.subfolders(root)
    return f"it holds the folders {', '.join(path.name for path in below[:5])}" if below else None


def classes(root: Path) -> list[str]:
    """Return the names of the class folders that hold photos; none when they may be anything else by their names."""
    named = [path for path in _class_folders(root) if not _means_else(path.name)]
    found = [path.name for path in named if walk.list_files(path, pairs.IMAGE_SUFFIXES)]
    return found if len(found) > 1 else []


def classification(root: Path) -> DataSet[Labels]:
    """Read the class folders below `root`. Raises UserError naming the folder, what it holds and what it must hold."""
    channel, remarks = Channel(str(root), root, "", "folder"), DataIssues()
    parts = folders.parts(channel)
    _refuse_wrapper(parts[TRAIN].path if parts else root)
    if not parts:
        _refuse_parts(root)
    try:
        found = folders.read(channel, None, remarks)
    except TrainUserError as error:
        raise UserError(str(error)) from None
    names = found.class_names
    train = TRAIN if found.validation else ""
    samples = [*((train, sample) for sample in found.train), *((VALIDATION, sample) for sample in found.validation)]
    photos = [(sample.path, part, (names[sample.label],), (names[sample.label],)) for part, sample in samples]
    notes = {reason: [name.removeprefix(f"{root}/") for name in files] for reason, files in remarks.names.items()}
    return DataSet(root, make_entries(photos, in_folders=True), names, notes)


def _class_folders(root: Path) -> list[Path]:
    """The folders that would be classes: those of the part to train on where there are parts."""
    parts = folders.parts(Channel(str(root), root, "", "folder"))
    return folders.subfolders(parts[TRAIN].path if parts else root)


def _means_else(name: str) -> bool:
    """Whether a folder's name is rather that of a part, or of what data sets have in a folder, such as masks."""
    return bool(part_of(name) or kinds(f"{name}/"))


def _refuse_wrapper(folder: Path) -> None:
    """Raise UserError when all there is is one folder of class folders, as archives have it."""
    inner = folder
    while len(below := folders.subfolders(inner)) == 1:
        inner = below[0]
    if below and inner != folder:
        raise UserError(
            f"{folder} has one class folder, {folders.subfolders(folder)[0].name}/; if the classes are "
            f"{_words(below)} in {inner}, give --data {inner}"
        )


def _refuse_parts(root: Path) -> None:
    """Raise UserError when folders are more likely parts of a data set than classes, by their names or what is in them.

    As classes they would be learnt without a warning.
    """
    same: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    below = {path: folders.subfolders(path) for path in folders.subfolders(root)}
    for path, inner in below.items():
        same[tuple(each.name for each in inner)].append(path)
    named = {path: part_of(path.name) for path, inner in below.items() if inner and part_of(path.name)}
    for inside, alike in same.items():
        if inside and len(alike) > 1:
            raise UserError(
                f"{root} has the folders {_words(alike)}, which all hold {', '.join(inside[:5])}: if those are the "
                "classes, call the folders above them train and val, with none beside them, or give one of them as "
                "--data; if not, put the photos right into the class folders"
            )
    parts = {part_of(path.name) for path in below}
    if len(set(named.values())) > 1 or (len(parts) > 1 and "" not in parts):
        raise UserError(
            f"{root} has the folders {_words(list(below))}: of the data set's parts there can be train, val and test, "
            "each once, with class folders in them and no other folder beside them: remove or rename the others"
        )


def _words(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(path.name for path in paths[:5]) + more
