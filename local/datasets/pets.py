"""The Oxford-IIIT Pet data set in its official layout.

    images/NAME.jpg                     photos; NAME is breed_number, a breed of cats begins with a capital letter
    annotations/trainval.txt, test.txt  the official split: NAME CLASS-ID SPECIES BREED-ID, one photo a line
    annotations/list.txt                both, after comment lines that begin with #
    annotations/trimaps/NAME.png        1 pet, 2 background, 3 border
    annotations/xmls/NAME.xml           head boxes (PASCAL VOC), for most photos of trainval

Described in annotations/README of the data set (Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from local.datasets import voc
from local.datasets.dataset import DataSet
from local.errors import UserError

SPECIES = {1: "cat", 2: "dog"}


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


@dataclass(frozen=True)
class Pets(DataSet[Pet]):
    """A data set: where it lies and the photos of its two official lists, in the lists' order."""

    layout = "the Oxford-IIIT Pet data set"

    root: Path
    trainval: tuple[Pet, ...]
    test: tuple[Pet, ...]

    @property
    def place(self) -> Path:
        """The folder of photos."""
        return self.root / "images"

    def photo(self, entry: Pet) -> Path:
        """The file of a photo."""
        return self.place / f"{entry.name}.jpg"

    def labelled(self) -> list[Pet]:
        """Every photo of both lists, and those of images/ whose breed the lists know; by name."""
        known = {pet.breed: pet for pet in (*self.trainval, *self.test)}
        found = {pet.name: pet for pet in (*self.trainval, *self.test)}
        for file in self.place.glob("*.jpg"):
            relative = known.get(file.stem.rpartition("_")[0])
            if relative is not None:
                found.setdefault(file.stem, replace(relative, name=file.stem))
        return [found[name] for name in sorted(found)]

    def annotated(self) -> list[Pet]:
        """The photos of `labelled` that have an XML file of head boxes; by name. Raises PetsError when none has."""
        return self._with_file(self.annotation_file, "XML file", "head boxes are", "xml")

    def segmented(self) -> list[Pet]:
        """The photos of `labelled` that have a trimap; by name. Raises PetsError when none has."""
        return self._with_file(self.mask, "trimap", "they are", "png")

    def class_names(self, entries: Iterable[Pet], classes: str) -> list[str]:
        """Names by label: breeds in the order of the data set's class numbers, or species, cat before dog.

        Class numbers of a subset may have gaps (1, 2, 6); labels have none.
        """
        if classes == "species":
            return sorted({pet.species for pet in entries})
        return [breed for _, breed in sorted({(pet.class_id, pet.breed) for pet in entries})]

    def class_of(self, entry: Pet, classes: str) -> str:
        """The class of a photo: its breed, or its species when `classes` is "species"."""
        return entry.species if classes == "species" else entry.breed

    def annotation(self, entry: Pet) -> voc.Annotation:
        """The head boxes of a photo. Raises voc.AnnotationError naming the file by its path below `root`."""
        path = self.annotation_file(entry)
        return voc.read(path, path.relative_to(self.root).as_posix())

    def annotation_file(self, entry: Pet) -> Path:
        """The file of a photo's head boxes; most photos of test.txt have none."""
        return self.root / "annotations" / "xmls" / f"{entry.name}.xml"

    def mask(self, entry: Pet) -> Path:
        """The file of a photo's trimap."""
        return self.root / "annotations" / "trimaps" / f"{entry.name}.png"

    def official(self) -> tuple[list[Pet], list[Pet]]:
        """The photos of both lists."""
        return list(self.trainval), list(self.test)

    def group(self, entry: Pet) -> str:
        """A random split is made breed by breed."""
        return entry.breed

    def strays(self) -> list[str]:
        """Files among the photos that are none by their names: .mat files, macOS's ._ files."""
        return sorted(file.name for file in self.place.iterdir() if not _is_photo(file))

    def unused(self, used: Iterable[Pet]) -> list[str]:
        """Photos by name that are not among `used`."""
        names = {pet.name for pet in used}
        return sorted(file.name for file in self.place.iterdir() if _is_photo(file) and file.stem not in names)

    def _with_file(self, file: Callable[[Pet], Path], what: str, they_are: str, suffix: str) -> list[Pet]:
        """The photos that have the `file` of theirs; the other arguments are for the message where none has."""
        photos = self.labelled()
        found = [pet for pet in photos if file(pet).is_file()]
        if not found:
            raise PetsError(
                f"{file(photos[0]).parent} has no {what} of any photo: {they_are} in annotations.tar.gz of the "
                f"Oxford-IIIT Pet data set, one NAME.{suffix} for images/NAME.jpg"
            )
        return found


def _is_photo(file: Path) -> bool:
    return file.suffix.lower() == ".jpg" and not file.name.startswith(".")


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` is the Oxford-IIIT Pet data set in its official layout, None if it is not."""
    lists = [name for name in ("trainval.txt", "test.txt") if (root / "annotations" / name).is_file()]
    if lists:
        return f"it holds annotations/{lists[0]}"
    folders = {path.name for path in root.iterdir() if path.is_dir()}
    return "it holds images/ and no class folders" if folders and folders <= {"images", "annotations"} else None


def read(root: Path) -> Pets:
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
    return Pets(root=root, trainval=trainval, test=test)


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
