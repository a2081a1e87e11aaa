"""Parse COCO's JSON (cocodataset.org, "Data format", object detection): images, their objects, and categories."""

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
    """An object in an image: its place in the file, the name of its category, and its shape, which is not yet checked.

    `crowd` marks a region of many objects, which COCO's evaluation ignores.
    """

    place: str
    category: str
    crowd: bool
    bbox: object
    segmentation: object

    def edges(self) -> Edges:
        """Convert the box from COCO's [left, top, width, height] in pixels, which may be fractional.

        Raise UserError naming the place and the value if it is invalid.
        """
        values = self.bbox if isinstance(self.bbox, list) else []
        numbers = [value for value in values if is_pixels(value)]
        if len(numbers) != 4 or len(values) != 4:
            raise UserError(
                f"{self.place} has the bbox {preview(self.bbox)}: expected [left, top, width, height] in pixels"
            )
        left, top, width, height = map(float, numbers)
        return left, top, left + width, top + height


@dataclass(frozen=True)
class ImageRecord:
    """An image of the file: its file name, its (width, height) in pixels if given, and its objects.

    `source` names the image in messages. `problem` is the reason why the image cannot be used, or "".
    """

    file_name: str
    source: str
    size: tuple[int, int] | None
    objects: tuple[Object, ...]
    problem: str = ""


@dataclass(frozen=True)
class Document:
    """A file: its images, the names of its categories ordered by id, and the places of annotations without an image."""

    images: tuple[ImageRecord, ...]
    categories: tuple[str, ...]
    strays: tuple[str, ...]


def parse(data: bytes, source: str) -> Document:
    """Parse a file. Raise UserError naming `source`, the key, its value and the fix.

    An error in one image or its annotations becomes the `problem` of that image.
    """
    lists = _lists(data, source)
    categories = _categories(lists["categories"], f"{source} categories")
    objects: dict[Id, list[Object | str]] = defaultdict(list)
    images = dict(_identified(lists["images"], f"{source} images"))
    strays = []
    for number, value in enumerate(lists["annotations"]):
        place = f"{source} annotations[{number}]"
        image = _id(value.get("image_id")) if isinstance(value, dict) else None
        if image is None or image not in images:
            strays.append(place)
        else:
            objects[image].append(_object(value, place, categories))
    records = [_image_record(images[key], objects[key], source) for key in images]
    ordered = sorted(categories, key=lambda key: (isinstance(key, str), key))
    return Document(tuple(records), tuple(dict.fromkeys(categories[key] for key in ordered)), tuple(strays))


def _lists(data: bytes, source: str) -> dict[str, list[Any]]:
    """Return the three lists of the document by key."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{source} is not JSON ({reason}): export it again") from None
    lists = {key: document.get(key) for key in _KEYS} if isinstance(document, dict) else {}
    for key in _KEYS:
        if not isinstance(lists.get(key), list):
            raise UserError(
                f"{source} has no list {key}: a COCO instances file has the lists images, annotations and categories"
            )
    return {key: value for key, value in lists.items() if isinstance(value, list)}


def _identified(values: list[Any], place: str) -> Iterator[tuple[Id, dict[str, Any]]]:
    """Yield the objects of a list with their ids. Raise UserError for a missing or duplicate id."""
    places: dict[Id, int] = {}
    for number, value in enumerate(values):
        key = _id(value.get("id")) if isinstance(value, dict) else None
        if key is None:
            raise UserError(f"{place}[{number}] is {preview(value)}: it needs an id, a whole number or a string")
        if key in places:
            other = f"{place}[{places[key]}]"
            raise UserError(f"{place}[{number}] has the id {preview(key)}, which {other} also has: make ids unique")
        places[key] = number
        yield key, value


def _id(value: object) -> Id | None:
    """Return a value as an id, or None if it is not one. pandas writes whole numbers as 7.0."""
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _categories(values: list[Any], place: str) -> dict[Id, str]:
    """Return the names of the categories by id."""
    names: dict[Id, str] = {}
    for key, value in _identified(values, place):
        name = value.get("name")
        if not isinstance(name, str):
            raise UserError(f"{place}: the id {preview(key)} has the name {preview(name)}: give it a string, like cat")
        names[key] = class_name(name, f"{place}: the id {preview(key)} has a name that")
    return names


def _object(value: dict[str, Any], place: str, categories: Mapping[Id, str]) -> Object | str:
    """Return an object, or a description of what is wrong with it."""
    key = _id(value.get("category_id"))
    if key is None or key not in categories:
        return f"{place} has the category_id {preview(value.get('category_id'))}, which is not in categories"
    crowd = value.get("iscrowd") not in (None, 0, "0", "")
    return Object(place, categories[key], crowd, value.get("bbox"), value.get("segmentation"))


def _image_record(image: dict[str, Any], results: list[Object | str], source: str) -> ImageRecord:
    """Return an image with its objects. `results` are the objects, or what is wrong with them."""
    name = image.get("file_name")
    if not isinstance(name, str) or not name.strip():
        problem = (
            f"{source}: the image with the id {preview(image['id'])} has the file_name {preview(name)}: give it a path"
        )
        return ImageRecord("", source, None, (), problem)
    described = f"{name[-80:]!r} of {source}"
    problems = [result for result in results if isinstance(result, str)]
    sides = [image.get(key) for key in ("width", "height")]
    size = None
    if any(side not in (None, 0) for side in sides):
        size = _side(sides[0]), _side(sides[1])
        if size[0] * size[1] <= 1:
            stated = " x ".join(map(preview, sides))
            problems.append(f"{described} has a width and height of {stated}: give its real size in pixels")
    objects = tuple(result for result in results if isinstance(result, Object))
    return ImageRecord(name, described, size, objects, problems[0] if problems else "")


def _side(value: Any) -> int:
    """Return a width or height in pixels, or 0 if it is invalid."""
    return int(value) if is_pixels(value) and value >= 1 else 0
