"""The Oxford-IIIT Pet data set in its official layout.

    images/NAME.jpg                     photos; NAME is breed_number, and cat breeds start with a capital letter
    annotations/trainval.txt, test.txt  the official split: NAME CLASS-ID SPECIES BREED-ID, one photo per line
    annotations/list.txt                both, after comment lines that start with #
    annotations/trimaps/NAME.png        1 pet, 2 background, 3 border
    annotations/xmls/NAME.xml           head boxes (PASCAL VOC), for most trainval photos

See annotations/README of the data set (Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012).
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
STRAYS = "files in images/ that are not photos, skipped"
UNKNOWN = "photos of a breed that is not in the lists, left out"


def classification(root: Path, classes: str = "breed") -> DataSet[Labels]:
    """Read the breed or species of photos in the lists, and of photos in images/ whose breed is in the lists."""
    photos, notes = _photos(root)
    return _data_set(root, classes, [(photo, (photo.pet.class_name(classes),)) for photo in photos], notes)


def detection(root: Path, classes: str = "species") -> DataSet[Annotation]:
    """Read the photos that have an XML file with head boxes, listed or not. Raise UserError if none has one.

    There is no split, because the photos of test.txt have no boxes in the real data set.
    """
    photos, notes = _photos(root)
    folder = root / "annotations" / "xmls"

    def boxes(photo: _Photo) -> Annotation:
        target = annotation.read(folder / f"{photo.pet.name}.xml", f"{photo.pet.name}.xml")
        if classes == "breed":
            return replace(target, objects=tuple(replace(item, name=photo.pet.breed) for item in target.objects))
        return target

    with_file = _with_file(photos, folder, "xml", "XML file", notes)
    targets = [(replace(photo, part=""), target) for photo, target in read_usable(with_file, boxes, root, notes)]
    return _data_set(root, classes, targets, notes)


def segmentation(root: Path, classes: str = "trimap") -> DataSet[Mask]:
    """Read the photos that have a trimap, listed or not. Keep its numbers, or map them to 0, 1 and 2 for "pet"."""
    photos, notes = _photos(root)
    folder = root / "annotations" / "trimaps"
    targets = [
        (photo, Mask(f"{photo.pet.name}.png", partial(_trimap, folder / f"{photo.pet.name}.png")))
        for photo in _with_file(photos, folder, "png", "trimap", notes)
    ]
    names = tuple(TRIMAP.values())
    data = _data_set(root, classes, targets, notes)
    if classes == "pet":
        return replace(data, class_names=names, pixels=tuple(TRIMAP))
    return replace(data, class_names=(NO_CLASS, *names), pixels=(0, *TRIMAP))


@dataclass(frozen=True)
class _Photo:
    """A photo in images/ and its official part, or "" if it has none."""

    pet: Pet
    part: str


def _photos(root: Path) -> tuple[list[_Photo], Notes]:
    """Return the photos of both lists and those in images/ whose breed is in the lists, and notes on the others."""
    lists = read(root)
    parts = {pet.name: part for part, pets in zip((TRAIN, VALIDATION), lists, strict=True) for pet in pets}
    listed = [*lists.trainval, *lists.test]
    by_breed = {pet.breed: pet for pet in listed}
    pets = {pet.name: pet for pet in listed}
    notes: Notes = {STRAYS: [], UNKNOWN: []}
    for file in sorted((root / "images").iterdir()):
        same_breed = by_breed.get(file.stem.rpartition("_")[0])
        if file.suffix.lower() != ".jpg" or file.name.startswith("."):
            notes[STRAYS].append(file.name)
        elif same_breed is None:
            notes[UNKNOWN].append(file.name)
        else:
            pets.setdefault(file.stem, replace(same_breed, name=file.stem))
    return [_Photo(pets[name], parts.get(name, "")) for name in sorted(pets)], notes


def _with_file(photos: Sequence[_Photo], folder: Path, suffix: str, kind: str, notes: Notes) -> list[_Photo]:
    """Return the photos that have a file in `folder`, and note the others. `kind` names the file in messages."""
    complete: list[_Photo] = []
    incomplete: list[_Photo] = []
    for photo in photos:
        (complete if (folder / f"{photo.pet.name}.{suffix}").is_file() else incomplete).append(photo)
    if not complete:
        raise UserError(
            f"{folder} has no {kind} for any photo: copy NAME.{suffix} for each images/NAME.jpg from "
            "annotations.tar.gz of the Oxford-IIIT Pet data set"
        )
    notes[without_file(kind)] = [f"{photo.pet.name}.jpg" for photo in incomplete]
    return complete


def _data_set(root: Path, classes: str, targets: Sequence[tuple[_Photo, Target]], notes: Notes) -> DataSet[Target]:
    """Return the data set of photos and their targets. A random split is stratified by breed."""
    photos = [
        (root / "images" / f"{photo.pet.name}.jpg", photo.part, target, [photo.pet.breed]) for photo, target in targets
    ]
    return DataSet(root, make_entries(photos), class_names([photo.pet for photo, _ in targets], classes), notes)


def _trimap(path: Path) -> DecodedMask:
    mask = read_numbers(path, path.name)
    invalid = sorted(set(np.unique(mask.pixels).tolist()) - set(TRIMAP))
    if invalid:
        values = ", ".join(map(str, invalid[:5]))
        raise UserError(
            f"{path.name} has pixels with {values}: a trimap has only 1 (pet), 2 (background) and 3 (border)"
        )
    return mask


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` is the Oxford-IIIT Pet data set in its official layout, or None."""
    lists = [name for name in ("trainval.txt", "test.txt") if (root / "annotations" / name).is_file()]
    if lists:
        return f"it has annotations/{lists[0]}"
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if not {path.name for path in folders} <= {"images", "annotations"}:
        return None
    # Many data sets have these two folders. The lists may be missing, but no file of another layout may be there.
    inside = [path for folder in folders for path in folder.iterdir() if not path.name.startswith(".")]
    if any(path.name not in _FOLDERS if path.is_dir() else path.suffix.lower() in _FOREIGN for path in inside):
        return None
    typical = (path for path in inside if path.name in _FOLDERS or _BREED_AND_NUMBER.fullmatch(path.name))
    first = next(typical, None)
    return f"it has {first.relative_to(root).as_posix()}" if first else None
