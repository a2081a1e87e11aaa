"""Class folders: photos whose folder's name is their class, in one part or in folders `train` and `val`.

    cat/1.jpg, dog/summer/2.jpg
    train/cat/1.jpg, val/dog/2.jpg      or training, validation, valid

Read as image-classification-tensorflow reads them in a channel. EXIF is heeded: what counts is the upright photo.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.datasets.dataset import DataSet
from local.errors import UserError
from train.classification import folders
from train.data.channels import Channel
from train.data.samples import Sample
from train.errors import UserError as TrainUserError


@dataclass(frozen=True)
class Photo:
    """A photo, its class, and its name in a channel."""

    name: str
    path: Path
    label: str


@dataclass(frozen=True)
class ClassFolders(DataSet[Photo]):
    """Photos by class; `validation` is empty where the data set has no part of that name."""

    layout = "class folders"
    classes = ("class",)

    root: Path
    train: tuple[Photo, ...]
    validation: tuple[Photo, ...]

    def photo(self, entry: Photo) -> Path:
        """The file of a photo."""
        return entry.path

    def labelled(self) -> list[Photo]:
        """All photos."""
        return [*self.train, *self.validation]

    def class_names(self, entries: Iterable[Photo], classes: str) -> list[str]:
        """The names of the class folders, sorted."""
        return sorted({photo.label for photo in self.train})

    def class_of(self, entry: Photo, classes: str) -> str:
        """The name of a photo's class folder."""
        return entry.label

    def official(self) -> tuple[list[Photo], list[Photo]] | None:
        """The photos of the folders `train` and `val`, if there are both."""
        return (list(self.train), list(self.validation)) if self.validation else None

    def group(self, entry: Photo) -> str:
        """A random split is made class by class."""
        return entry.label


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` holds class folders, None if it does not."""
    below = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return f"it holds the folders {', '.join(path.name for path in below[:5])}" if below else None


def read(root: Path) -> ClassFolders:
    """Read the class folders below `root`. Raises UserError naming the folder, what it holds and what it must hold."""
    try:
        found = folders.read(Channel(str(root), root, "", "folder"))
    except TrainUserError as error:
        raise UserError(str(error)) from None
    seen: Counter[tuple[str, str, str]] = Counter()

    def photos(part: str, samples: Sequence[Sample[int]]) -> tuple[Photo, ...]:
        made = []
        for sample in samples:
            label = found.class_names[sample.label]
            name = sample.path.stem
            seen[part, label, name] += 1
            count = seen[part, label, name]
            made.append(Photo(name if count == 1 else f"{name}-{count}", sample.path, label))
        return tuple(made)

    return ClassFolders(root, photos("train", found.train), photos("validation", found.validation))
