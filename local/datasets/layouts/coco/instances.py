"""COCO's JSON (cocodataset.org, "Data format", object detection): images, the objects on them, and categories."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.datasets.dataset import Edges, class_name
from local.datasets.files.values import is_pixels, preview
from local.errors import UserError

_KEYS = ("images", "annotations", "categories")
Id = int | str


@dataclass(frozen=True)
class Object:
    """One object on an image: where it stands in the file, its category's name, and its shape, not checked yet.

    `crowd` marks a region of many objects, which COCO scores neither as found nor as missed.
    """

    where: str
    category: str
    crowd: bool
    bbox: object
    segmentation: object

    def edges(self) -> Edges:
        """The box: COCO has [left, top, width, height], in pixels from the upper left corner, fractions allowed.

        Raises UserError naming the place and the value.
        """
        values = self.bbox if isinstance(self.bbox, list) else []
        numbers = [value for value in values if is_pixels(value)]
        if len(numbers) != 4 or len(values) != 4:
            raise UserError(
                f"{self.where} has the bbox {preview(self.bbox)}: expected [left, top, width, height] in pixels"
            )
        left, top, width, height = map(float, numbers)
        return left, top, left + width, top + height


@dataclass(frozen=True)
class Picture:
    """An image of the file: what it calls it, its width and height in pixels, if it says so, and the objects on it.

    `problem` says why they cannot be used, "" where they can.
    """

    file_name: str
    source: str
    size: tuple[int, int] | None
    objects: tuple[Object, ...]
    problem: str = ""


@dataclass(frozen=True)
class Document:
    """A file: its images, the names of its categories in the order of their ids, and annotations of no image in it."""

    pictures: tuple[Picture, ...]
    categories: tuple[str, ...]
    strays: tuple[str, ...]


def parse(data: bytes, source: str) -> Document:
    """Return what a file holds. Raises UserError naming `source`, the key, its value and the fix.

    What is wrong with one image or its annotations is that picture's `problem`.
    """
    lists = _lists(data, source)
    categories = _categories(lists["categories"], f"{source} categories")
    objects: dict[Id, list[Object | str]] = defaultdict(list)
    images = dict(_identified(lists["images"], f"{source} images"))
    strays = []
    for number, value in enumerate(lists["annotations"]):
        where = f"{source} annotations[{number}]"
        image = _id(value.get("image_id")) if isinstance(value, dict) else None
        if image is None or image not in images:
            strays.append(where)
        else:
            objects[image].append(_object(value, where, categories))
    pictures = [_picture(images[key], objects[key], source) for key in images]
    ordered = sorted(categories, key=lambda key: (isinstance(key, str), key))
    return Document(tuple(pictures), tuple(dict.fromkeys(categories[key] for key in ordered)), tuple(strays))


def _lists(data: bytes, source: str) -> dict[str, list[Any]]:
    """The document's three lists, by key."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{source} is not JSON ({reason}): export it again") from None
    lists = {key: document.get(key) for key in _KEYS} if isinstance(document, dict) else {}
    for key in _KEYS:
        if not isinstance(lists.get(key), list):
            raise UserError(
                f"{source} has no list {key}: COCO's instances files hold the lists images, annotations and categories"
            )
    return {key: value for key, value in lists.items() if isinstance(value, list)}


def _identified(values: list[Any], where: str) -> Iterator[tuple[Id, dict[str, Any]]]:
    """The objects of a list with their ids. Raises UserError for one without and for an id that occurs twice."""
    places: dict[Id, int] = {}
    for number, value in enumerate(values):
        key = _id(value.get("id")) if isinstance(value, dict) else None
        if key is None:
            raise UserError(f"{where}[{number}] is {preview(value)}: it needs an id, a whole number or a text")
        if key in places:
            raise UserError(f"{where}[{number}] has the id {preview(key)} of {where}[{places[key]}]: give each its own")
        places[key] = number
        yield key, value


def _id(value: object) -> Id | None:
    """A value as an id, None for what is none. pandas writes whole numbers as 7.0."""
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _categories(values: list[Any], where: str) -> dict[Id, str]:
    """The names of the categories by id."""
    names: dict[Id, str] = {}
    for key, value in _identified(values, where):
        name = value.get("name")
        if not isinstance(name, str):
            raise UserError(f"{where}: the id {preview(key)} has the name {preview(name)}: give it a text, like cat")
        names[key] = class_name(name, f"{where}: the id {preview(key)} has a name that")
    return names


def _object(value: dict[str, Any], where: str, categories: Mapping[Id, str]) -> Object | str:
    """An object, or in words what is wrong with it."""
    key = _id(value.get("category_id"))
    if key is None or key not in categories:
        return f"{where} has the category_id {preview(value.get('category_id'))}, which categories does not have"
    crowd = value.get("iscrowd") not in (None, 0, "0", "")
    return Object(where, categories[key], crowd, value.get("bbox"), value.get("segmentation"))


def _picture(image: dict[str, Any], found: list[Object | str], source: str) -> Picture:
    """An image with its objects."""
    name = image.get("file_name")
    if not isinstance(name, str) or not name.strip():
        problem = (
            f"{source}: the image with the id {preview(image['id'])} has the file_name {preview(name)}, not a path"
        )
        return Picture("", source, None, (), problem)
    named = f"{name[-80:]!r} of {source}"
    problems = [each for each in found if isinstance(each, str)]
    sides = [image.get(key) for key in ("width", "height")]
    size = None
    if any(side not in (None, 0) for side in sides):
        size = _side(sides[0]), _side(sides[1])
        if size[0] * size[1] <= 1:
            given = " x ".join(map(preview, sides))
            problems.append(f"{named} has a width and height of {given}: give its real size in pixels")
    objects = tuple(each for each in found if isinstance(each, Object))
    return Picture(name, named, size, objects, problems[0] if problems else "")


def _side(value: Any) -> int:
    """A width or height in pixels, 0 for what is none."""
    return int(value) if is_pixels(value) and value >= 1 else 0
