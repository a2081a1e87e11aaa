"""The Oxford-IIIT Pet data set in its official layout.

    images/NAME.jpg                     photos; NAME is breed_number, a breed of cats begins with a capital letter
    annotations/trainval.txt, test.txt  the official split: NAME CLASS-ID SPECIES BREED-ID, one photo a line
    annotations/list.txt                both, after comment lines that begin with #
    annotations/trimaps/NAME.png        1 pet, 2 background, 3 border
    annotations/xmls/NAME.xml           head boxes (PASCAL VOC), for most photos of trainval

Described in annotations/README of the data set (Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from local.datasets.dataset import NO_CLASS, TRAIN, VALIDATION, Annotation, DataSet, Labels, Target, make_entries
from local.datasets.layouts.pets.lists import Pet, class_names, read
from local.datasets.layouts.voc import annotation
from local.datasets.masks.mask import DecodedMask, Mask, read_numbers
from local.datasets.notes import Notes, read_usable, without_file
from local.errors import UserError

TRIMAP = {1: "pet", 2: "background", 3: "border"}
_FOLDERS = ("trimaps", "xmls")
_BREED_AND_NUMBER = re.compile(r"[A-Za-z]+(_[A-Za-z]+)*_\d+\.jpg")
_FOREIGN = (".xml", ".json", ".png")
STRAYS = "not a photo, skipped"
UNKNOWN = "photos of a breed that the lists do not have, left out"


def classification(root: Path, classes: str = "breed") -> DataSet[Labels]:
    """Read the photos of both lists, and those of images/ whose breed the lists know, by breed or species."""
    photos, notes = _photos(root)
    return _data_set(root, classes, [(photo, (photo.pet.called(classes),)) for photo in photos], notes)


def detection(root: Path, classes: str = "species") -> DataSet[Annotation]:
    """Read the photos that have an XML file of head boxes, listed or not. Raises UserError when none has.

    There is no split: the photos of test.txt have no boxes in the real data set.
    """
    photos, notes = _photos(root)
    folder = root / "annotations" / "xmls"

    def boxes(photo: _Photo) -> Annotation:
        found = annotation.read(folder / f"{photo.pet.name}.xml", f"{photo.pet.name}.xml")
        if classes == "breed":
            return replace(found, objects=tuple(replace(thing, name=photo.pet.breed) for thing in found.objects))
        return found

    with_file = _with_file(photos, folder, "xml", "XML file", "head boxes are", notes)
    known = [(replace(photo, part=""), one) for photo, one in read_usable(with_file, boxes, root, notes)]
    return _data_set(root, classes, known, notes)


def segmentation(root: Path, classes: str = "trimap") -> DataSet[Mask]:
    """Read the photos that have a trimap, listed or not: its numbers as they are, or "pet": as 0, 1 and 2."""
    photos, notes = _photos(root)
    folder = root / "annotations" / "trimaps"
    known = [
        (photo, Mask(f"{photo.pet.name}.png", partial(_trimap, folder / f"{photo.pet.name}.png")))
        for photo in _with_file(photos, folder, "png", "trimap", "they are", notes)
    ]
    names = tuple(TRIMAP.values())
    data = _data_set(root, classes, known, notes)
    if classes == "pet":
        return replace(data, class_names=names, pixels=tuple(TRIMAP))
    return replace(data, class_names=(NO_CLASS, *names), pixels=(0, *TRIMAP))


@dataclass(frozen=True)
class _Photo:
    """A photo of images/, and the official part that it is of, "" for none."""

    pet: Pet
    part: str


def _photos(root: Path) -> tuple[list[_Photo], Notes]:
    """Every photo of both lists and those of images/ whose breed the lists know, by name; and what is left out."""
    lists = read(root)
    parts = {pet.name: part for part, pets in zip((TRAIN, VALIDATION), lists, strict=True) for pet in pets}
    listed = [*lists.trainval, *lists.test]
    known = {pet.breed: pet for pet in listed}
    found = {pet.name: pet for pet in listed}
    notes: Notes = {STRAYS: [], UNKNOWN: []}
    for file in sorted((root / "images").iterdir()):
        relative = known.get(file.stem.rpartition("_")[0])
        if file.suffix.lower() != ".jpg" or file.name.startswith("."):
            notes[STRAYS].append(file.name)
        elif relative is None:
            notes[UNKNOWN].append(file.name)
        else:
            found.setdefault(file.stem, replace(relative, name=file.stem))
    return [_Photo(found[name], parts.get(name, "")) for name in sorted(found)], notes


def _with_file(
    photos: Sequence[_Photo], folder: Path, suffix: str, what: str, they_are: str, notes: Notes
) -> list[_Photo]:
    """The photos that have a file of theirs in `folder`; notes the others. The other arguments are for messages."""
    found: list[_Photo] = []
    others: list[_Photo] = []
    for photo in photos:
        (found if (folder / f"{photo.pet.name}.{suffix}").is_file() else others).append(photo)
    if not found:
        raise UserError(
            f"{folder} has no {what} of any photo: {they_are} in annotations.tar.gz of the "
            f"Oxford-IIIT Pet data set, one NAME.{suffix} for images/NAME.jpg"
        )
    notes[without_file(what)] = [f"{photo.pet.name}.jpg" for photo in others]
    return found


def _data_set(root: Path, classes: str, known: Sequence[tuple[_Photo, Target]], notes: Notes) -> DataSet[Target]:
    """A data set of photos with what is known of each; a random split is made breed by breed."""
    photos = [(root / "images" / f"{photo.pet.name}.jpg", photo.part, fact, [photo.pet.breed]) for photo, fact in known]
    return DataSet(root, make_entries(photos), class_names([photo.pet for photo, _ in known], classes), notes)


def _trimap(path: Path) -> DecodedMask:
    painted = read_numbers(path, path.name)
    others = sorted(set(np.unique(painted.pixels).tolist()) - set(TRIMAP))
    if others:
        values = ", ".join(map(str, others[:5]))
        raise UserError(f"{path.name} has pixels of {values}: a trimap has 1 (pet), 2 (background), 3 (border)")
    return painted


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` is the Oxford-IIIT Pet data set in its official layout, None if it is not."""
    lists = [name for name in ("trainval.txt", "test.txt") if (root / "annotations" / name).is_file()]
    if lists:
        return f"it holds annotations/{lists[0]}"
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if not {path.name for path in folders} <= {"images", "annotations"}:
        return None
    # Many data sets have these two folders: the lists may be missing, but nothing of another one may be there.
    inside = [path for folder in folders for path in folder.iterdir() if not path.name.startswith(".")]
    if any(path.name not in _FOLDERS if path.is_dir() else path.suffix.lower() in _FOREIGN for path in inside):
        return None
    of_its_own = (path for path in inside if path.name in _FOLDERS or _BREED_AND_NUMBER.fullmatch(path.name))
    found = next(of_its_own, None)
    return f"it holds {found.relative_to(root).as_posix()}" if found else None
