"""Class folders: photos whose folder's name is their class, in one part or in folders `train` and `val`.

    cat/1.jpg, dog/summer/2.jpg
    train/cat/1.jpg, val/dog/2.jpg      or training, validation, valid

Read as image-classification-tensorflow reads them in a channel. EXIF is heeded: what counts is the upright photo.
"""

from pathlib import Path

from local.datasets.dataset import TRAIN, VALIDATION, DataSet, Labels, entries
from local.errors import UserError
from train.classification import folders
from train.data.channels import Channel
from train.errors import UserError as TrainUserError


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` holds class folders, None if it does not."""
    below = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return f"it holds the folders {', '.join(path.name for path in below[:5])}" if below else None


def classification(root: Path) -> DataSet[Labels]:
    """Read the class folders below `root`. Raises UserError naming the folder, what it holds and what it must hold."""
    try:
        found = folders.read(Channel(str(root), root, "", "folder"))
    except TrainUserError as error:
        raise UserError(str(error)) from None
    names = found.class_names
    train = TRAIN if found.validation else ""
    parts = [*((train, sample) for sample in found.train), *((VALIDATION, sample) for sample in found.validation)]
    photos = [(sample.path, part, (names[sample.label],), (names[sample.label],)) for part, sample in parts]
    return DataSet(root, entries(photos, in_folders=True), names)
