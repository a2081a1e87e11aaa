"""Read the files next to YOLO's label files: class names, and the folders of the parts."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import yaml

from local.datasets.dataset import TRAIN, VALIDATION, class_name
from local.datasets.files import parts, texts, walk
from local.datasets.files.path_suffixes import Files
from local.errors import UserError
from train.data.parts import TEST

_MAX_BYTES = 1_000_000
_MAX_FOLDERS = 20
_NAMES = re.compile(rb"^(?:\xef\xbb\xbf)?['\"]?names['\"]?\s*:", re.MULTILINE)
_LISTS = ("classes.txt", "_darknet.labels", ".names")


@dataclass(frozen=True)
class DatasetInfo:
    """Class names by number (None if unknown), the file that they come from, and the parts of folders and photos.

    `keypoints` is True if the label files have the keypoints of a pose after each box.
    """

    names: Mapping[int, str] | None = None
    file: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    keypoints: bool = False

    def part(self, photo: str) -> str:
        """Return a photo's part: from the file if it has training and validation parts, else from the folders."""
        path = PurePath(photo)
        if {TRAIN, VALIDATION} <= set(self.parts.values()):
            ancestors = map(PurePath.as_posix, (path, *path.parents))
            return next((self.parts[name] for name in ancestors if name in self.parts), "")
        return parts.of_path(path.parent)


def read(root: Path, photos: Files) -> DatasetInfo:
    """Read data.yaml or another .yaml file with names, else the names in classes.txt or a similar file.

    Raise UserError naming the file, the key, its value and the fix.
    """
    files = walk.list_files(root, (".yaml", ".yml"))
    for file in sorted(files, key=lambda file: (PurePath(file).stem != "data", file.count("/"))):
        data = texts.read_bytes(root / file, file, _MAX_BYTES)
        if _NAMES.search(data):
            return _parse(file, data, photos)
    lists = {file: texts.class_names(root / file, file) for file in walk.list_files(root, _LISTS)}
    if not lists:
        return DatasetInfo()
    first, *others = lists
    for other in others:
        if lists[other] != lists[first]:
            raise UserError(f"{other} and {first} have different classes: remove one of them")
    return DatasetInfo(dict(enumerate(lists[first])), first)


def _parse(file: str, data: bytes, photos: Files) -> DatasetInfo:
    try:
        # BaseLoader returns only strings, so a class named `no` keeps its name.
        content = yaml.load(data, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(getattr(error, "problem", None) or type(error).__name__)
        raise UserError(f"{file} is not valid YAML ({problem[:80]}): fix it or export it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a YAML mapping: it needs lines such as `names: [cat, dog]`")
    names = _names(content.get("names"), file)
    return DatasetInfo(names, file, _parts(content, photos.root / file, photos), "kpt_shape" in content)


def _parts(content: Mapping[str, object], file: Path, photos: Files) -> dict[str, str]:
    """Return the part of each folder and photo in the file. A folder for both training and validation has none."""
    places: dict[str, set[str]] = defaultdict(set)
    for key, value in content.items():
        part = parts.from_word(str(key))
        for text in value if isinstance(value, list) else [value]:
            if part and isinstance(text, str):
                places[part].update(path.relative_to(photos.root).as_posix() for path in _resolve(text, file, photos))
    both = places[TRAIN] & places[VALIDATION]
    return {place: part for part in (TEST, TRAIN, VALIDATION) for place in places[part] if place not in both}


def _names(value: object, file: str) -> dict[int, str]:
    """Return the names by number from a list or a mapping."""
    if isinstance(value, list):
        value = {str(number): name for number, name in enumerate(value)}
    if not isinstance(value, dict) or not value:
        raise UserError(f"{file} has names that are neither a list nor a mapping: write `names: [cat, dog]`")
    names: dict[int, str] = {}
    for key, name in value.items():
        if not isinstance(key, str) or not re.fullmatch(r"[0-9]{1,6}", key):
            raise UserError(f"{file} has names with the key {key!r:.40}: use class numbers as keys, as in `0: cat`")
        if not isinstance(name, str):
            raise UserError(f"{file} has a name for class {key} that is not a string: write `{key}: cat`")
        names[int(key)] = class_name(name, f"{file} names class {key}: the name")
    return names


def _resolve(text: str, file: Path, photos: Files) -> list[Path]:
    """Find the longest suffix of a path that exists next to the file or below the data set's folder.

    Return the folder that it names, or the photos that a list file names.
    """
    pieces = [piece for piece in text.replace("\\", "/").split("/") if piece not in ("", ".", "..")][-_MAX_FOLDERS:]
    for start in range(len(pieces)):
        for base in (file.parent, photos.root):
            place = base.joinpath(*pieces[start:])
            # os.path functions return False for a path that is too long or has a NUL character; Path methods may raise.
            if os.path.isdir(place):
                return [place]
            if place.suffix == ".txt" and os.path.isfile(place):
                listed = texts.read_bytes(place, place.name).decode("utf-8", "replace").split("\n")
                matches = photos.find([line.strip() for line in listed], place.parent)
                return [match.path for match in matches if match.path]
    return []
