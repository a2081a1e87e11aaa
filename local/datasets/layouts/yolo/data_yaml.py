"""What stands beside YOLO's label files: the names of the classes, and which folders are the parts."""

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

_MOST_BYTES = 1_000_000
_MOST_FOLDERS = 20
_NAMES = re.compile(rb"^(?:\xef\xbb\xbf)?['\"]?names['\"]?\s*:", re.MULTILINE)
_LISTS = ("classes.txt", "_darknet.labels", ".names")


@dataclass(frozen=True)
class About:
    """Names by class number and the file that has them, None without one; and the parts of folders and photos.

    `keypoints` says that the label files have a pose's points behind each box.
    """

    names: Mapping[int, str] | None = None
    file: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    keypoints: bool = False

    def part(self, photo: str) -> str:
        """The part of a photo: as the file says where it has both parts, else as the photo's folders say."""
        path = PurePath(photo)
        if {TRAIN, VALIDATION} <= set(self.parts.values()):
            places = map(PurePath.as_posix, (path, *path.parents))
            return next((self.parts[place] for place in places if place in self.parts), "")
        return parts.of_path(path.parent)


def read(root: Path, photos: Files) -> About:
    """Return what data.yaml says, or another .yaml file with names, else the names in classes.txt and its like.

    Raises UserError naming the file, the key, its value and the fix.
    """
    files = walk.list_files(root, (".yaml", ".yml"))
    for file in sorted(files, key=lambda file: (PurePath(file).stem != "data", file.count("/"))):
        data = texts.read_bytes(root / file, file, _MOST_BYTES)
        if _NAMES.search(data):
            return _about(file, data, photos)
    lists = {file: texts.class_names(root / file, file) for file in walk.list_files(root, _LISTS)}
    if not lists:
        return About()
    first, *others = lists
    for other in others:
        if lists[other] != lists[first]:
            raise UserError(f"{other} has other classes than {first}: remove one of them")
    return About(dict(enumerate(lists[first])), first)


def _about(file: str, data: bytes, photos: Files) -> About:
    try:
        # Texts only, no object of any other type: a class called `no` keeps its name, and aliases are not expanded.
        content = yaml.load(data, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(getattr(error, "problem", None) or type(error).__name__)
        raise UserError(f"{file} is not YAML ({problem[:80]}): write it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a YAML map: it needs lines such as `names: [cat, dog]`")
    names = _names(content.get("names"), file)
    return About(names, file, _parts(content, photos.root / file, photos), "kpt_shape" in content)


def _parts(content: Mapping[str, object], file: Path, photos: Files) -> dict[str, str]:
    """The part of each folder and photo that the file names. A folder for both training and validation has none."""
    places: dict[str, set[str]] = defaultdict(set)
    for key, value in content.items():
        part = parts.from_word(str(key))
        for text in value if isinstance(value, list) else [value]:
            if part and isinstance(text, str):
                places[part].update(path.relative_to(photos.root).as_posix() for path in _found(text, file, photos))
    both = places[TRAIN] & places[VALIDATION]
    return {place: part for part in (TEST, TRAIN, VALIDATION) for place in places[part] if place not in both}


def _names(value: object, file: str) -> dict[int, str]:
    """The names by number: a list, or a map from numbers."""
    if isinstance(value, list):
        value = {str(number): name for number, name in enumerate(value)}
    if not isinstance(value, dict) or not value:
        raise UserError(f"{file} has names that are neither a list nor a map: write `names: [cat, dog]`")
    names: dict[int, str] = {}
    for key, name in value.items():
        if not isinstance(key, str) or not re.fullmatch(r"[0-9]{1,6}", key):
            raise UserError(f"{file} has names for {key!r:.40}: the keys are the class numbers, as in `0: cat`")
        if not isinstance(name, str):
            raise UserError(f"{file} has no text as the name of class {key}: write `{key}: cat`")
        names[int(key)] = class_name(name, f"{file} names class {key}: the name")
    return names


def _found(text: str, file: Path, photos: Files) -> list[Path]:
    """What a path in the file leads to below the folder, by its end: a folder, or the photos that a list file names."""
    pieces = [one for one in text.replace("\\", "/").split("/") if one not in ("", ".", "..")][-_MOST_FOLDERS:]
    for start in range(len(pieces)):
        for base in (file.parent, photos.root):
            place = base.joinpath(*pieces[start:])
            # Of os.path, which knows what a path that is none, too long or with a NUL in it is: no file.
            if os.path.isdir(place):
                return [place]
            if place.suffix == ".txt" and os.path.isfile(place):
                listed = texts.read_bytes(place, place.name).decode("utf-8", "replace").split("\n")
                found = photos.find([line.strip() for line in listed], place.parent)
                return [one.path for one in found if one.path]
    return []
