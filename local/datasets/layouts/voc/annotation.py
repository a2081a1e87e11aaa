"""Parse PASCAL VOC annotation files, which hold the boxes of one photo as XML.

The parser is the standard library's expat. A document type declaration is rejected before it is parsed, because nested
entities would allow a small XML file to exhaust memory.
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
    """Read the file at `path`, named `source` in messages. Raise UserError as `parse` does."""
    return parse(texts.read_bytes(path, source, MAX_BYTES), source)


def parse(data: bytes, source: str) -> Annotation:
    """Parse an annotation from XML. Boxes are not checked: they may be empty or outside the photo.

    VOC counts pixels from 1, and both ends of a box are inclusive. A rotated box becomes the upright box around it. If
    the size is missing or 0 x 0, as some programs write it, it is UNKNOWN.

    Raise UserError naming `source` for invalid XML, a document type, a file larger than MAX_BYTES, an incomplete size,
    an object without a name or box, or a coordinate that is not a finite number.
    """
    root = _document(data, source)
    objects = tuple(_object(element, source) for element in root.iterfind("object"))
    return Annotation(source, objects, _size(root, source))


def photo_name(path: Path, source: str) -> str:
    """Return the name of the annotated photo without folders, or "". Raise UserError as `read` does."""
    text = _document(texts.read_bytes(path, source, MAX_BYTES), source).findtext("filename") or ""
    return text.replace("\\", "/").rpartition("/")[2].strip()


def is_annotation(path: Path) -> bool:
    """Return whether a file starts like an annotation."""
    tag = re.search(rb"<(\w[\w.:-]*)", texts.first_bytes(path, 4000))
    return tag is not None and tag[1] == b"annotation"


def _document(data: bytes, source: str) -> Element:
    if len(data) > MAX_BYTES:
        raise UserError(f"{source} has more than {MAX_BYTES} bytes: check that it is the annotation of one photo")
    root = _tree(data, source)
    if root.tag != "annotation":
        raise UserError(f"{source} starts with <{root.tag[:40]}>, expected <annotation> of PASCAL VOC")
    return root


def _size(root: Element, source: str) -> tuple[int, int]:
    if root.find("size/width") is None and root.find("size/height") is None:
        return UNKNOWN
    width, height = (round(_number(root, f"size/{tag}", source)) for tag in ("width", "height"))
    if (width < 1 or height < 1) and (width, height) != UNKNOWN:
        raise UserError(f"{source} has the size {width} x {height}: give the real size of the photo in pixels")
    return width, height


def _object(element: Element, source: str) -> LabelledBox:
    name = class_name(element.findtext("name") or "", f"{source}: the <name> of an object")
    if element.find("robndbox") is not None:  # roLabelImg; the angle in radians
        paths = (f"robndbox/{tag}" for tag in ("cx", "cy", "w", "h", "angle"))
        return LabelledBox(name, _enclosing_box(*(_number(element, path, source) for path in paths)))
    sides = ("xmin", "ymin", "xmax", "ymax")
    xmin, ymin, xmax, ymax = (round(_number(element, f"bndbox/{side}", source)) for side in sides)
    left, top = xmin - 1, ymin - 1
    for attribute in element.iterfind("attributes/attribute"):  # CVAT; in degrees
        if attribute.findtext("name") == "rotation" and (angle := _number(attribute, "value", source)):
            centre = (left + xmax) / 2, (top + ymax) / 2
            return LabelledBox(name, _enclosing_box(*centre, xmax - left, ymax - top, math.radians(angle)))
    return LabelledBox(name, (left, top, xmax, ymax))


def _enclosing_box(x: float, y: float, width: float, height: float, angle: float) -> Edges:
    """Return the upright box around a box that is rotated by `angle` about its centre (x, y)."""
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    across, down = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return x - across, y - down, x + across, y + down


def _number(element: Element, path: str, source: str) -> float:
    """Return the number at `path` below `element`. Some programs write 48.0 for 48."""
    text = (element.findtext(path) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_SIDE:
        problem = f"is {text[:40]!r}" if text else "is missing"
        raise UserError(f"{source}: <{path.replace('/', '><')}> {problem}, expected a number of pixels")
    return value


def _tree(data: bytes, source: str) -> Element:
    """Parse the document without declaring or expanding any entity, and return its root."""

    def reject(*_: object) -> None:
        raise UserError(f"{source} has a document type: remove <!DOCTYPE ...>, which annotations do not need")

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        builder.start(tag, dict(attributes))

    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reject
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    # An unknown encoding raises LookupError or ValueError.
    except (expat.ExpatError, ParseError, LookupError, ValueError) as error:
        raise UserError(f"{source} is not valid XML ({error}): export it again") from None
