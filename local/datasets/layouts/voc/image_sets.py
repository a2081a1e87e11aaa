"""Read ImageSets of PASCAL VOC: text files with the photos of each part and their classes.

    ImageSets/Main/train.txt, val.txt, trainval.txt, test.txt    a photo per line, without folder and extension
    ImageSets/Main/cat_train.txt, ...                            a photo and 1 (cat), -1 (no cat) or 0 (difficult)
    ImageSets/Segmentation/train.txt, ...                        the photos that have masks
    ImageSets/Layout/train.txt, ...                              photos with people

CVAT uses default.txt for photos without a part. A name with spaces may be quoted.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from local.datasets.dataset import TRAIN, VALIDATION, class_name
from local.datasets.files import texts
from local.datasets.files.pairing import Photos, key
from local.datasets.notes import MISSING, Notes
from local.errors import UserError
from train.data import pairs
from train.data.parts import TEST, WORDS

DIFFICULT = "classes with only difficult objects (0) in a photo, treated as absent"
_SETS = {**WORDS, "trainval": "trainval", "default": "default"}
_FOLDER = r"(?:(?P<home>.*)/)?ImageSets/(?:(?P<folder>[^/]+)/)?"
_FILE = re.compile(rf"{_FOLDER}(?:(?P<name>[^/]+)_)?(?P<set>{'|'.join(_SETS)})\.txt")
_FLAGGED = re.compile(r"(?P<photo>.*\S)\s+(?P<flag>[+-]?\d+)")


def parts(root: Path, files: Sequence[str], photos: Photos, folders: Sequence[str], notes: Notes) -> dict[str, str]:
    """Return TRAIN, VALIDATION or TEST for each photo from the lists in the first of `folders` that has lists.

    Return an empty dict if there are no lists. Raise UserError if a list cannot be read, and as `parts_of_sets` does.
    """
    lists = [(match, file) for file in files if (match := _FILE.fullmatch(file)) and not match["name"]]
    for folder in folders:
        sets: dict[str, set[str]] = defaultdict(set)
        for match, file in lists:
            if (match["folder"] or "") == folder:
                for line in _lines(root, file):
                    photo = _photo(line, match["home"], photos)
                    if photo is None:
                        notes.setdefault(MISSING, []).append(f"{line} ({file})")
                    else:
                        sets[_SETS[match["set"]]].add(photo)
        if sets:
            return parts_of_sets(sets, f"ImageSets/{folder}".rstrip("/"))
    return {}


def parts_of_sets(sets: Mapping[str, Set[str]], source: str) -> dict[str, str]:
    """Return the part of each photo. Without a val set, trainval is the training part and test the validation part.

    Raise UserError if a photo would be in two parts. `source` names the sets in the message.
    """
    train, validation, test = (set(sets.get(name, ())) for name in (TRAIN, VALIDATION, TEST))
    trainval = set(sets.get("trainval", ()))
    if validation:
        train = train or trainval - validation
    else:
        train, validation, test = trainval or train, test, set()
    for first, second in ((train, validation), (train, test), (validation, test)):
        if shared := first & second:
            raise UserError(f"{source} has {min(shared)} in two sets: remove it from one of them")
    named = ((TRAIN, train), (VALIDATION, validation), (TEST, test))
    return {photo: part for part, photos in named for photo in photos}


def classes(
    root: Path, files: Sequence[str], photos: Photos, notes: Notes
) -> tuple[dict[str, dict[str, set[str]]], tuple[str, ...]]:
    """Read CLASS_SET.txt in ImageSets/Main. Return the classes of each photo by set, and all class names, sorted.

    If all objects of a class in a photo are difficult, treat the class as absent and note it. VOC's devkit excludes
    the photo from the evaluation of that class instead. Raise UserError naming a line without 1, -1 or 0.
    """
    sets: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    names = set()
    for file in files:
        match = _FILE.fullmatch(file)
        if match is None or match["folder"] != "Main" or not match["name"]:
            continue
        name = class_name(match["name"], f"{file}: the class")
        names.add(name)
        for line in _lines(root, file):
            flagged = _FLAGGED.fullmatch(line)
            if flagged is None or flagged["flag"].lstrip("+") not in ("1", "-1", "0"):
                raise UserError(f"{file} has the line {line[:80]!r}: expected a photo and 1, -1 or 0, as in `a -1`")
            photo = _photo(flagged["photo"], match["home"], photos)
            if photo is None:
                notes.setdefault(MISSING, []).append(f"{flagged['photo']} ({file})")
                continue
            photo_classes = sets[_SETS[match["set"]]][photo]
            if int(flagged["flag"]) == 1:
                photo_classes.add(name)
            elif int(flagged["flag"]) == 0:
                notes.setdefault(DIFFICULT, []).append(f"{photo} {name}")
    return sets, tuple(sorted(names))


def _lines(root: Path, file: str) -> Iterator[str]:
    text = texts.read_text(root / file, file)
    return (line.strip() for line in text.split("\n") if line.strip())


def _photo(line: str, home: str | None, photos: Photos) -> str | None:
    """Return the photo that a line names. Lists of Layout append a number, and some programs write the extension."""
    flagged = _FLAGGED.fullmatch(line)
    for text in [line] + ([flagged["photo"]] if flagged else []):
        name = text.strip().strip('"').replace("\\", "/")
        base = pairs.base_name(name) if name.lower().endswith(pairs.IMAGE_SUFFIXES) else name.rpartition("/")[2]
        path = f"{home}/{name}" if home else name
        if photo := photos.find(key(path, base)):
            return photo
    return None
