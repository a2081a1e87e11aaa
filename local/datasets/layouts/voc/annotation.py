"""PASCAL VOC annotation files: the boxes that people drew on one photo, as XML.

Read with the standard library's expat. A document type declaration is refused before anything in it is looked at:
entities that expand each other are the one way in which a small XML file can ask for all of the memory.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from local.datasets.dataset import UNKNOWN, Annotation, Edges, LabelledBox, class_name
from local.datasets.files import texts
from local.datasets.files.values import MAX_SIDE
from local.errors import UserError

MAX_BYTES = 1_000_000


def read(path: Path, source: str) -> Annotation:
    """Read the file at `path`, which messages call `source`. Raises UserError."""
    return parse(texts.read_bytes(path, source, MAX_BYTES), source)


def parse(data: bytes, source: str) -> Annotation:
    """An annotation from its XML. Boxes are as the file has them: empty and outside the photo, if it says so.

    VOC counts pixels from 1 and includes both ends of a box. A rotated box becomes the upright one around it. Some
    programs write no size, or 0 x 0: it is UNKNOWN then.

    Raises UserError naming `source`: no XML, a document type, above MAX_BYTES, half a size, an object without a
    name or a box, a coordinate that is not a finite number.
    """
    root = _document(data, source)
    things = tuple(_thing(element, source) for element in root.iterfind("object"))
    return Annotation(source, things, _size(root, source))


def photo(path: Path, source: str) -> str:
    """Return the name of the photo that the file is about, without folders; "" if it gives none. As `read` raises."""
    text = _document(texts.read_bytes(path, source, MAX_BYTES), source).findtext("filename") or ""
    return text.replace("\\", "/").rpartition("/")[2].strip()


def begins(path: Path) -> bool:
    """Return whether a file begins as an annotation does."""
    tag = re.search(rb"<(\w[\w.:-]*)", texts.first_bytes(path, 4000))
    return tag is not None and tag[1] == b"annotation"


def _document(data: bytes, source: str) -> Element:
    if len(data) > MAX_BYTES:
        raise UserError(f"{source} has more than {MAX_BYTES} bytes: that is not an annotation of one photo")
    root = _tree(data, source)
    if root.tag != "annotation":
        raise UserError(f"{source} begins with <{root.tag[:40]}>, expected PASCAL VOC's <annotation>")
    return root


def _size(root: Element, source: str) -> tuple[int, int]:
    if root.find("size/width") is None and root.find("size/height") is None:
        return UNKNOWN
    width, height = (round(_number(root, f"size/{tag}", source)) for tag in ("width", "height"))
    if (width < 1 or height < 1) and (width, height) != UNKNOWN:
        raise UserError(f"{source} says that its photo has {width} x {height} pixels: give its real size")
    return width, height


def _thing(element: Element, source: str) -> LabelledBox:
    name = class_name(element.findtext("name") or "", f"{source}: the <name> of an object")
    if element.find("robndbox") is not None:  # roLabelImg; the angle in radians
        places = (f"robndbox/{tag}" for tag in ("cx", "cy", "w", "h", "angle"))
        return LabelledBox(name, _around(*(_number(element, place, source) for place in places)))
    sides = ("xmin", "ymin", "xmax", "ymax")
    xmin, ymin, xmax, ymax = (round(_number(element, f"bndbox/{side}", source)) for side in sides)
    left, top = xmin - 1, ymin - 1
    for attribute in element.iterfind("attributes/attribute"):  # CVAT; in degrees
        if attribute.findtext("name") == "rotation" and (angle := _number(attribute, "value", source)):
            centre = (left + xmax) / 2, (top + ymax) / 2
            return LabelledBox(name, _around(*centre, xmax - left, ymax - top, math.radians(angle)))
    return LabelledBox(name, (left, top, xmax, ymax))


def _around(x: float, y: float, width: float, height: float, angle: float) -> Edges:
    """The upright box around one that is turned by `angle` about its centre (x, y)."""
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    across, down = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return x - across, y - down, x + across, y + down


def _number(element: Element, path: str, source: str) -> float:
    """The number at `path` below `element`: some programs write 48.0 for 48."""
    text = (element.findtext(path) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_SIDE:
        said = f"is {text[:40]!r}" if text else "is missing"
        raise UserError(f"{source}: <{path.replace('/', '><')}> {said}, expected a number of pixels")
    return value


def _tree(data: bytes, source: str) -> Element:
    """The document's root, built without ever declaring or expanding an entity."""

    def refuse(*_: object) -> None:
        raise UserError(f"{source} has a document type (<!DOCTYPE ...>): annotations need none, remove it")

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        builder.start(tag, dict(attributes))

    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    # An encoding that Python or expat does not know is a LookupError or a ValueError.
    except (expat.ExpatError, ParseError, LookupError, ValueError) as error:
        raise UserError(f"{source} is not XML ({error}): write it again with the program that made it") from None
