"""ImageSets of PASCAL VOC: the text files that say which photos to train and to validate on, and what is on them.

    ImageSets/Main/train.txt, val.txt, trainval.txt, test.txt    a photo a line, without folder and ending
    ImageSets/Main/cat_train.txt, ...                            a photo and 1 (a cat), -1 (none) or 0 (a difficult one)
    ImageSets/Segmentation/train.txt, ...                        the photos that have masks
    ImageSets/Layout/train.txt, ...                              photos with people

CVAT calls a set of photos without a part default.txt. A name with spaces may stand in quotation marks.
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

DIFFICULT = "classes of which a photo has difficult objects alone (0), counted as absent"
_SETS = {**WORDS, "trainval": "trainval", "default": "default"}
_FOLDER = r"(?:(?P<home>.*)/)?ImageSets/(?:(?P<folder>[^/]+)/)?"
_FILE = re.compile(rf"{_FOLDER}(?:(?P<name>[^/]+)_)?(?P<set>{'|'.join(_SETS)})\.txt")
_FLAGGED = re.compile(r"(?P<photo>.*\S)\s+(?P<flag>[+-]?\d+)")


def parts(root: Path, files: Sequence[str], photos: Photos, folders: Sequence[str], notes: Notes) -> dict[str, str]:
    """The part of each photo, TRAIN, VALIDATION or TEST, by the lists in the first of `folders` that has some.

    None where there are no lists. Raises UserError for a list that cannot be read, and as `divide` does.
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
            return divide(sets, f"ImageSets/{folder}".rstrip("/"))
    return {}


def divide(sets: Mapping[str, Set[str]], source: str) -> dict[str, str]:
    """The part of each photo: train and val; where there is no val, trainval to train on and test to validate on.

    Raises UserError for a photo that would be in two parts; `source` names the sets.
    """
    train, validation, test = (set(sets.get(name, ())) for name in (TRAIN, VALIDATION, TEST))
    both = set(sets.get("trainval", ()))
    if validation:
        train = train or both - validation
    else:
        train, validation, test = both or train, test, set()
    for one, other in ((train, validation), (train, test), (validation, test)):
        if shared := one & other:
            raise UserError(
                f"{source} has {min(shared)} in two sets, to train on and to measure on: remove it from one of them"
            )
    return {photo: part for part, of in ((TRAIN, train), (VALIDATION, validation), (TEST, test)) for photo in of}


def classes(
    root: Path, files: Sequence[str], photos: Photos, notes: Notes
) -> tuple[dict[str, dict[str, set[str]]], tuple[str, ...]]:
    """What CLASS_SET.txt in ImageSets/Main say: by set, the classes of each of its photos; and all classes, by name.

    A class whose objects on a photo are all difficult is neither there nor absent in VOC's devkit, whose evaluation
    leaves the photo out; here it counts as absent, and is noted. Raises UserError naming a line without 1, -1 or 0.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
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
            of = found[_SETS[match["set"]]][photo]
            if int(flagged["flag"]) == 1:
                of.add(name)
            elif int(flagged["flag"]) == 0:
                notes.setdefault(DIFFICULT, []).append(f"{photo} {name}")
    return found, tuple(sorted(names))


def _lines(root: Path, file: str) -> Iterator[str]:
    text = texts.read_text(root / file, file)
    return (line.strip() for line in text.split("\n") if line.strip())


def _photo(line: str, home: str | None, photos: Photos) -> str | None:
    """The photo that a line names; lists of Layout have a number behind it, some programs write the file's ending."""
    flagged = _FLAGGED.fullmatch(line)
    for text in [line] + ([flagged["photo"]] if flagged else []):
        name = text.strip().strip('"').replace("\\", "/")
        base = pairs.base_name(name) if name.lower().endswith(pairs.IMAGE_SUFFIXES) else name.rpartition("/")[2]
        path = f"{home}/{name}" if home else name
        if found := photos.find(key(path, base)):
            return found
    return None
