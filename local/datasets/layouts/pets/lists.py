"""Read the two official lists of the Oxford-IIIT Pet data set: its photos with their breeds, and the split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from local.datasets.files import texts
from local.errors import UserError

SPECIES = {1: "cat", 2: "dog"}


@dataclass(frozen=True)
class Pet:
    """A photo in the lists: its name without the extension, its class number (from 1) and its species."""

    name: str
    class_id: int
    species: str

    @property
    def breed(self) -> str:
        """The breed as the data set spells it: `american_bulldog` in `american_bulldog_100`."""
        return self.name.rpartition("_")[0]

    def class_name(self, classes: str) -> str:
        """Return the species if `classes` is "species", else the breed."""
        return self.species if classes == "species" else self.breed


class Lists(NamedTuple):
    """The photos of the two official lists, in the order of the files."""

    trainval: tuple[Pet, ...]
    test: tuple[Pet, ...]


def read(root: Path) -> Lists:
    """Read both lists of the data set at `root`.

    Raise UserError if a list or the photo folder is missing, a line is malformed, a list is empty, the lists share a
    photo, or two breeds have the same class number.
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
            f"{root / 'annotations' / 'test.txt'} names {min(shared)}, which is also in trainval.txt: remove it "
            "from one of them, or the accuracy is measured on training photos"
        )
    _check_numbers(root / "annotations", [*trainval, *test])
    return Lists(trainval, test)


def parse(text: str, source: str) -> tuple[Pet, ...]:
    """Return the photos of a list file. Ignore blank lines, comments (#) and Windows line ends.

    `source` names the file in messages. Raise UserError naming `source`, the line and the problem.
    """
    pets: dict[str, Pet] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            pet = _pet(fields)
        except ValueError as error:
            raise UserError(f"{source} line {number} is {line.strip()[:80]!r}: {error}") from None
        if pet.name in pets:
            raise UserError(f"{source} line {number} names {pet.name} again: remove one of the two lines")
        pets[pet.name] = pet
    return tuple(pets.values())


def _pet(fields: Sequence[str]) -> Pet:
    """Return the photo for the fields of a line. Raise ValueError with the fix."""
    if len(fields) != 4:
        raise ValueError(f"{len(fields)} fields, expected 4: NAME CLASS-ID SPECIES BREED-ID")
    name, *numbers = fields
    if not name.rpartition("_")[0] or "/" in name or "\\" in name or "\0" in name:
        raise ValueError("the name must be breed_number without a folder, as in Abyssinian_100")
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
        raise UserError(f"{path} lists no photos: expected lines like `Abyssinian_100 1 1 1`")
    return photos


def _check_numbers(folder: Path, photos: Sequence[Pet]) -> None:
    """Raise UserError unless numbers and breeds map one to one: two breeds must not silently share a label."""
    seen: dict[int, Pet] = {}
    numbers: dict[str, int] = {}
    for pet in photos:
        other = seen.setdefault(pet.class_id, pet)
        if (other.breed, other.species) != (pet.breed, pet.species):
            raise UserError(
                f"{folder}: class number {pet.class_id} is {other.breed} ({other.species}) for {other.name} and "
                f"{pet.breed} ({pet.species}) for {pet.name}: give each breed its own number"
            )
        if numbers.setdefault(pet.breed, pet.class_id) != pet.class_id:
            raise UserError(
                f"{folder}: {pet.breed} has class number {numbers[pet.breed]}, but {pet.class_id} for {pet.name}: "
                "use one number"
            )


def class_names(pets: Iterable[Pet], classes: str) -> tuple[str, ...]:
    """Return the class names by label: breeds in the order of their class numbers, or cat and dog for "species".

    Class numbers of a subset may have gaps (1, 2, 6), but labels have none.
    """
    if classes == "species":
        return tuple(sorted({pet.species for pet in pets}))
    return tuple(breed for _, breed in sorted({(pet.class_id, pet.breed) for pet in pets}))
