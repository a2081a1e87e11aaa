"""PASCAL VOC annotation files: the boxes that people drew on one photo, as XML.

Read with the standard library's expat. A document type declaration is refused before anything in it is looked at:
entities that expand each other are the one way in which a small XML file can ask for all of the memory.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from local.datasets.dataset import Annotation, Thing
from local.errors import UserError

MAX_BYTES = 1_000_000
_MAX_PIXELS = 1_000_000


class AnnotationError(UserError):
    """A file is no annotation that can be used. The message names the file, what is wrong with it, and the fix."""


def read(path: Path, source: str) -> Annotation:
    """Read the file at `path`, which messages call `source`. Raises AnnotationError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AnnotationError(f"{source} cannot be read: {error.strerror}") from None
    return parse(data, source)


def parse(data: bytes, source: str) -> Annotation:
    """An annotation from its XML. Boxes are as the file has them: empty and outside the photo, if it says so.

    VOC counts pixels from 1 and includes both ends of a box.

    Raises AnnotationError naming `source`: no XML, a document type, above MAX_BYTES, no size, an object without a name
    or a box, a coordinate that is no finite number.
    """
    if len(data) > MAX_BYTES:
        raise AnnotationError(f"{source} has more than {MAX_BYTES} bytes: that is not an annotation of one photo")
    root = _tree(data, source)
    if root.tag != "annotation":
        raise AnnotationError(f"{source} begins with <{root.tag[:40]}>, expected PASCAL VOC's <annotation>")
    width, height = (_whole(root, f"size/{tag}", source) for tag in ("width", "height"))
    if width < 1 or height < 1:
        raise AnnotationError(f"{source} says that its photo has {width} x {height} pixels: give its real size")
    return Annotation(source, tuple(_thing(element, source) for element in root.iterfind("object")), (width, height))


def _thing(element: Element, source: str) -> Thing:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise AnnotationError(f"{source} has an object without a <name>: name its class, like cat")
    xmin, ymin, xmax, ymax = (_whole(element, f"bndbox/{tag}", source) for tag in ("xmin", "ymin", "xmax", "ymax"))
    return Thing(name, (xmin - 1, ymin - 1, xmax, ymax))


def _whole(element: Element, path: str, source: str) -> int:
    """The number at `path` below `element`, rounded: some programs write 48.0."""
    text = (element.findtext(path) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _MAX_PIXELS:
        said = f"is {text[:40]!r}" if text else "is missing"
        raise AnnotationError(f"{source}: <{path.replace('/', '><')}> {said}, expected a number of pixels")
    return round(value)


def _tree(data: bytes, source: str) -> Element:
    """The document's root, built without ever declaring or expanding an entity."""

    def refuse(*_: object) -> None:
        raise AnnotationError(f"{source} has a document type (<!DOCTYPE ...>): annotations need none, remove it")

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
        raise AnnotationError(f"{source} is not XML ({error}): write it again with the program that made it") from None
