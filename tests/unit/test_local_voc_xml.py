"""PASCAL VOC's XML: what is read, and what is refused with the file's name before it can do harm."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local.datasets.dataset import Annotation, Thing
from local.datasets.layouts import voc_xml
from local.datasets.layouts.voc_xml import AnnotationError

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_characters="<>&"), min_size=1, max_size=8)
EDGES = st.tuples(*[st.integers(-50, 5000)] * 4)


def xml(things: str = "", size: str = "<width>64</width><height>48</height>") -> bytes:
    return f"<annotation><size>{size}</size>{things}</annotation>".encode()


def thing(name: str, xmin: object, ymin: object, xmax: object, ymax: object) -> str:
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


@given(st.lists(st.tuples(NAMES.filter(str.strip), EDGES), max_size=4))
def test_boxes_counted_from_one_with_both_ends_become_edges_counted_from_zero(
    things: list[tuple[str, tuple[int, int, int, int]]],
) -> None:
    found = voc_xml.parse(xml("".join(thing(name, *box) for name, box in things)), "a.xml")
    assert found.size == (64, 48)
    assert found.things == tuple(
        Thing(name.strip(), (xmin - 1, ymin - 1, xmax, ymax)) for name, (xmin, ymin, xmax, ymax) in things
    )


def test_fractions_of_a_pixel_are_rounded_and_what_else_stands_there_is_passed_over() -> None:
    part = "<part><name>head</name><bndbox><xmin>x</xmin></bndbox></part>"
    things = thing(" cat\n", "10.4", 20.0, " 30 ", 40).replace("</object>", f"{part}<difficult>0</difficult></object>")
    document = b'\xef\xbb\xbf<?xml version="1.0"?><!-- by hand -->' + xml(f"<segmented>0</segmented>{things}")
    assert voc_xml.parse(document, "a.xml") == Annotation("a.xml", (Thing("cat", (9, 19, 30, 40)),), (64, 48))


@given(st.binary(max_size=80))
@example(b"<annotation>")
@example(b"<?xml version='1.0' encoding='no-such'?><annotation/>")
@example(b"<?xml version='1.0' encoding='utf-7'?><annotation/>")
@example(b"<annotation/><annotation/>")
def test_bytes_that_are_no_annotation_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(AnnotationError, match=r"^xmls/a\.xml"):
        voc_xml.parse(data, "xmls/a.xml")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "is not XML"),
        (b"<html></html>", "begins with <html>, expected PASCAL VOC's <annotation>"),
        (xml(size="<width>64</width>"), "<size><height> is missing"),
        (xml(size="<width>0</width><height>48</height>"), "says that its photo has 0 x 48 pixels"),
        (xml(thing("", 1, 1, 2, 2)), "an object without a <name>"),
        (xml("<object><name>cat</name></object>"), "<bndbox><xmin> is missing"),
        (xml(thing("cat", "nan", 1, 2, 2)), "<bndbox><xmin> is 'nan', expected a number of pixels"),
        (xml(thing("cat", 1, "-inf", 2, 2)), "<bndbox><ymin> is '-inf'"),
        (xml(thing("cat", 1, 1, "1e99", 2)), "<bndbox><xmax> is '1e99'"),
        (xml(thing("cat", 1, 1, 2, "two")), "<bndbox><ymax> is 'two'"),
        (b" " * (voc_xml.MAX_BYTES + 1), "more than 1000000 bytes"),
    ],
)
def test_what_is_wrong_is_said_after_the_files_name(document: bytes, reason: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        voc_xml.parse(document, "a.xml")
    assert str(caught.value).startswith("a.xml")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "declaration",
    [
        b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "' + b"&x;" * 1000 + b'">]>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        b'<!DOCTYPE a SYSTEM "http://example.invalid/a.dtd">',
    ],
    ids=["entities that expand", "a file of this machine", "a file of another machine"],
)
def test_a_document_type_is_refused_whatever_it_declares(declaration: bytes) -> None:
    with pytest.raises(AnnotationError, match=r"a\.xml has a document type .* remove it"):
        voc_xml.parse(declaration + xml(thing("&y;", 1, 1, 2, 2)), "a.xml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"^xmls/a\.xml cannot be read: No such file"):
        voc_xml.read(tmp_path / "a.xml", "xmls/a.xml")
