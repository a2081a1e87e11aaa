"""The Oxford-IIIT Pet data set in its official layout.

    images/NAME.jpg                     photos; NAME is breed_number, a breed of cats begins with a capital letter
    annotations/trainval.txt, test.txt  the official split: NAME CLASS-ID SPECIES BREED-ID, one photo a line
    annotations/list.txt                both, after comment lines that begin with #
    annotations/trimaps/NAME.png        1 pet, 2 background, 3 border
    annotations/xmls/NAME.xml           head boxes (PASCAL VOC), for most photos of trainval

Described in annotations/README of the data set (Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from local.datasets.dataset import NO_CLASS, TRAIN, UNUSABLE, VALIDATION, Annotation, DataSet, Known, Labels, entries
from local.datasets.layouts.voc import annotation
from local.datasets.masks.mask import Mask, Painted, from_numbers
from local.datasets.notes import Notes, without
from local.errors import UserError

SPECIES = {1: "cat", 2: "dog"}
TRIMAP = {1: "pet", 2: "background", 3: "border"}
_FOLDERS = ("trimaps", "xmls")
_FOREIGN = (".xml", ".json", ".png")
STRAYS = "not a photo, skipped"
UNKNOWN = "photos of a breed that the lists do not have, left out"


class PetsError(UserError):
    """The data set is not in the official layout. The message names the file and the line, and the fix."""


@dataclass(frozen=True)
class Pet:
    """One photo of the lists: its name without extension, the data set's own class number (from 1) and its species."""

    name: str
    class_id: int
    species: str

    @property
    def breed(self) -> str:
        """The breed as the data set spells it: `american_bulldog` of `american_bulldog_100`."""
        return self.name.rpartition("_")[0]

    def called(self, classes: str) -> str:
        """The class of a photo: its breed, or its species when `classes` is "species"."""
        return self.species if classes == "species" else self.breed


class Lists(NamedTuple):
    """The photos of the two official lists, in their order."""

    trainval: tuple[Pet, ...]
    test: tuple[Pet, ...]


def classification(root: Path, classes: str = "breed") -> DataSet[Labels]:
    """Read the photos of both lists, and those of images/ whose breed the lists know, by breed or species."""
    photos, notes = _photos(root)
    return _data_set(root, classes, [(photo, (photo.pet.called(classes),)) for photo in photos], notes)


def detection(root: Path, classes: str = "species") -> DataSet[Annotation]:
    """Read the photos that have an XML file of head boxes, listed or not. Raises PetsError when none has.

    There is no split: the photos of test.txt have no boxes in the real data set.
    """
    photos, notes = _photos(root)
    folder = root / "annotations" / "xmls"
    known: list[tuple[_Photo, Annotation]] = []
    for photo in _with_file(photos, folder, "xml", "XML file", "head boxes are", notes):
        name = f"{photo.pet.name}.xml"
        try:
            found = annotation.read(folder / name, name)
        except UserError as error:
            notes.setdefault(UNUSABLE, []).append(str(error))
            continue
        if classes == "breed":
            found = replace(found, things=tuple(replace(thing, name=photo.pet.breed) for thing in found.things))
        known.append((replace(photo, part=""), found))
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
        raise PetsError(
            f"{folder} has no {what} of any photo: {they_are} in annotations.tar.gz of the "
            f"Oxford-IIIT Pet data set, one NAME.{suffix} for images/NAME.jpg"
        )
    notes[without(what)] = [f"{photo.pet.name}.jpg" for photo in others]
    return found


def _data_set(root: Path, classes: str, known: Sequence[tuple[_Photo, Known]], notes: Notes) -> DataSet[Known]:
    """A data set of photos with what is known of each; a random split is made breed by breed."""
    photos = [photo for photo, _ in known]
    paths = [root / "images" / f"{photo.pet.name}.jpg" for photo in photos]
    parts, breeds = [photo.part for photo in photos], [[photo.pet.breed] for photo in photos]
    names = class_names([photo.pet for photo in photos], classes)
    return DataSet(root, entries(paths, [fact for _, fact in known], parts, breeds), names, notes)


def class_names(pets: Iterable[Pet], classes: str) -> tuple[str, ...]:
    """Names by label: breeds in the order of the data set's class numbers, or species, cat before dog.

    Class numbers of a subset may have gaps (1, 2, 6); labels have none.
    """
    if classes == "species":
        return tuple(sorted({pet.species for pet in pets}))
    return tuple(breed for _, breed in sorted({(pet.class_id, pet.breed) for pet in pets}))


def _trimap(path: Path) -> Painted:
    painted = from_numbers(path, path.name)
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
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    if not folders or not {path.name for path in folders} <= {"images", "annotations"}:
        return None
    # Many data sets have these two folders: the lists may be missing, but nothing of another one may be there.
    inside = [path for folder in folders for path in folder.iterdir() if not path.name.startswith(".")]
    if any(path.name not in _FOLDERS if path.is_dir() else path.suffix.lower() in _FOREIGN for path in inside):
        return None
    return "it holds images/ and no class folders"


def read(root: Path) -> Lists:
    """Read both lists of the data set at `root`.

    Raises PetsError when a list or the photo folder is missing, a line is malformed, the lists are empty or share a
    photo, or a class number stands for two breeds.
    """
    if not (root / "images").is_dir():
        raise PetsError(
            f"{root / 'images'} does not exist: give the folder that holds images/ and annotations/ of the Oxford-IIIT "
            "Pet data set in its official layout (`python3 -m local data` downloads it)"
        )
    trainval, test = (_read_list(root / "annotations" / name) for name in ("trainval.txt", "test.txt"))
    shared = {pet.name for pet in trainval} & {pet.name for pet in test}
    if shared:
        raise PetsError(
            f"{root / 'annotations' / 'test.txt'} names {min(shared)}, which trainval.txt names too: remove it "
            "from one of them, or the accuracy is measured on photos that were trained on"
        )
    _check_numbers(root / "annotations", [*trainval, *test])
    return Lists(trainval, test)


def parse(text: str, source: str) -> tuple[Pet, ...]:
    """The photos of a list file. Blank lines, comments (#) and Windows line ends are skipped.

    `source` names the file in messages. Raises PetsError naming source, line and what is wrong with it.
    """
    found: dict[str, Pet] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            pet = _pet(fields)
        except ValueError as error:
            raise PetsError(f"{source} line {number} is {line.strip()[:80]!r}: {error}") from None
        if pet.name in found:
            raise PetsError(f"{source} line {number} names {pet.name} a second time: remove one of the two lines")
        found[pet.name] = pet
    return tuple(found.values())


def _pet(fields: Sequence[str]) -> Pet:
    """A photo from the fields of its line; ValueError with the fix in words."""
    if len(fields) != 4:
        raise ValueError(f"{len(fields)} fields, expected 4: NAME CLASS-ID SPECIES BREED-ID")
    name, *numbers = fields
    if not name.rpartition("_")[0] or "/" in name or "\\" in name or "\0" in name:
        raise ValueError("the name must be breed_number, without a folder, like Abyssinian_100")
    if not all(number.isascii() and number.isdigit() and int(number) > 0 for number in numbers):
        raise ValueError("CLASS-ID, SPECIES and BREED-ID must be whole numbers from 1")
    species = SPECIES.get(int(numbers[1]))
    if species is None:
        raise ValueError(f"SPECIES is {numbers[1]}, expected 1 (cat) or 2 (dog)")
    return Pet(name=name, class_id=int(numbers[0]), species=species)


def _read_list(path: Path) -> tuple[Pet, ...]:
    try:
        photos = parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise PetsError(f"{path} does not exist: it is in annotations.tar.gz of the Oxford-IIIT Pet data set") from None
    except UnicodeDecodeError as error:
        raise PetsError(f"{path} is not a text file ({error.reason} at byte {error.start})") from None
    if not photos:
        raise PetsError(f"{path} names no photo: expected lines like `Abyssinian_100 1 1 1`")
    return photos


def _check_numbers(folder: Path, photos: Sequence[Pet]) -> None:
    """One number, one breed, one species: otherwise two breeds would silently share a label."""
    seen: dict[int, Pet] = {}
    numbers: dict[str, int] = {}
    for pet in photos:
        other = seen.setdefault(pet.class_id, pet)
        if (other.breed, other.species) != (pet.breed, pet.species):
            raise PetsError(
                f"{folder}: class number {pet.class_id} stands for {other.breed} ({other.species}) at {other.name} and "
                f"for {pet.breed} ({pet.species}) at {pet.name}: give each breed a number of its own"
            )
        if numbers.setdefault(pet.breed, pet.class_id) != pet.class_id:
            raise PetsError(
                f"{folder}: {pet.breed} has class number {numbers[pet.breed]}, but {pet.class_id} at {pet.name}: "
                "give it one number"
            )
