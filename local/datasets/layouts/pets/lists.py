"""The two official lists of the Oxford-IIIT Pet data set: its photos, what they are of, and the split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from local.datasets.files import texts
from local.errors import UserError

SPECIES = {1: "cat", 2: "dog"}


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


def read(root: Path) -> Lists:
    """Read both lists of the data set at `root`.

    Raises UserError when a list or the photo folder is missing, a line is malformed, the lists are empty or share a
    photo, or a class number stands for two breeds.
    """
    if not (root / "images").is_dir():
        raise UserError(
            f"{root / 'images'} does not exist: give the folder that holds images/ and annotations/ of the Oxford-IIIT "
            "Pet data set in its official layout (`python3 -m local data` downloads it)"
        )
    trainval, test = (_read_list(root / "annotations" / name) for name in ("trainval.txt", "test.txt"))
    shared = {pet.name for pet in trainval} & {pet.name for pet in test}
    if shared:
        raise UserError(
            f"{root / 'annotations' / 'test.txt'} names {min(shared)}, which trainval.txt names too: remove it "
            "from one of them, or the accuracy is measured on photos that were trained on"
        )
    _check_numbers(root / "annotations", [*trainval, *test])
    return Lists(trainval, test)


def parse(text: str, source: str) -> tuple[Pet, ...]:
    """The photos of a list file. Blank lines, comments (#) and Windows line ends are skipped.

    `source` names the file in messages. Raises UserError naming source, line and what is wrong with it.
    """
    found: dict[str, Pet] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            pet = _pet(fields)
        except ValueError as error:
            raise UserError(f"{source} line {number} is {line.strip()[:80]!r}: {error}") from None
        if pet.name in found:
            raise UserError(f"{source} line {number} names {pet.name} a second time: remove one of the two lines")
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
    if not path.exists():
        raise UserError(f"{path} does not exist: it is in annotations.tar.gz of the Oxford-IIIT Pet data set")
    photos = parse(texts.read_text(path, str(path)), str(path))
    if not photos:
        raise UserError(f"{path} names no photo: expected lines like `Abyssinian_100 1 1 1`")
    return photos


def _check_numbers(folder: Path, photos: Sequence[Pet]) -> None:
    """One number, one breed, one species: otherwise two breeds would silently share a label."""
    seen: dict[int, Pet] = {}
    numbers: dict[str, int] = {}
    for pet in photos:
        other = seen.setdefault(pet.class_id, pet)
        if (other.breed, other.species) != (pet.breed, pet.species):
            raise UserError(
                f"{folder}: class number {pet.class_id} stands for {other.breed} ({other.species}) at {other.name} and "
                f"for {pet.breed} ({pet.species}) at {pet.name}: give each breed a number of its own"
            )
        if numbers.setdefault(pet.breed, pet.class_id) != pet.class_id:
            raise UserError(
                f"{folder}: {pet.breed} has class number {numbers[pet.breed]}, but {pet.class_id} at {pet.name}: "
                "give it one number"
            )


def class_names(pets: Iterable[Pet], classes: str) -> tuple[str, ...]:
    """Names by label: breeds in the order of the data set's class numbers, or species, cat before dog.

    Class numbers of a subset may have gaps (1, 2, 6); labels have none.
    """
    if classes == "species":
        return tuple(sorted({pet.species for pet in pets}))
    return tuple(breed for _, breed in sorted({(pet.class_id, pet.breed) for pet in pets}))
