"""PASCAL VOC's XML files: what is read, and what is rejected with the file's name before it can do harm."""

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local.datasets.dataset import UNKNOWN, Annotation, LabelledBox
from local.datasets.layouts.voc import annotation as voc_xml
from local.errors import UserError

NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["Cc"], exclude_characters="<>&"),
    min_size=1,
    max_size=8,
)
EDGES = st.tuples(*[st.integers(-50, 5000)] * 4)


def xml(objects: str = "", size: str = "<width>64</width><height>48</height>") -> bytes:
    return f"<annotation><size>{size}</size>{objects}</annotation>".encode()


def box_object(name: str, xmin: object, ymin: object, xmax: object, ymax: object) -> str:
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


@given(st.lists(st.tuples(NAMES.filter(str.strip), EDGES), max_size=4))
def test_boxes_counted_from_1_with_both_ends_become_edges_counted_from_0(
    boxes: list[tuple[str, tuple[int, int, int, int]]],
) -> None:
    annotation = voc_xml.parse(xml("".join(box_object(name, *box) for name, box in boxes)), "a.xml")
    assert annotation.size == (64, 48)
    assert annotation.objects == tuple(
        LabelledBox(" ".join(name.split()), (xmin - 1, ymin - 1, xmax, ymax))
        for name, (xmin, ymin, xmax, ymax) in boxes
    )


def test_fractions_of_a_pixel_are_rounded_and_other_elements_are_ignored() -> None:
    part = "<part><name>head</name><bndbox><xmin>x</xmin></bndbox></part>"
    objects = box_object(" cat\n", "10.4", 20.0, " 30 ", 40).replace(
        "</object>", f"{part}<difficult>0</difficult></object>"
    )
    document = b'\xef\xbb\xbf<?xml version="1.0"?><!-- by hand -->' + xml(f"<segmented>0</segmented>{objects}")
    assert voc_xml.parse(document, "a.xml") == Annotation("a.xml", (LabelledBox("cat", (9, 19, 30, 40)),), (64, 48))


@pytest.mark.parametrize("size", ["", "<width>0</width><height>0</height>", "<depth>3</depth>"])
def test_a_missing_size_or_one_of_0_x_0_is_unknown(size: str) -> None:
    assert voc_xml.parse(xml(box_object("cat", 1, 1, 2, 2), size), "a.xml").size == UNKNOWN


@pytest.mark.parametrize(
    "rotated",
    [
        # 20 x 10 pixels around (30, 20), as written by roLabelImg and by CVAT.
        "<robndbox><cx>30</cx><cy>20</cy><w>20</w><h>10</h><angle>{radians}</angle></robndbox>",
        "<bndbox><xmin>21</xmin><ymin>16</ymin><xmax>40</xmax><ymax>25</ymax></bndbox><attributes><attribute>"
        "<name>rotation</name><value>{degrees}</value></attribute></attributes>",
    ],
    ids=["roLabelImg", "CVAT"],
)
@pytest.mark.parametrize(
    ("degrees", "box"),
    [(0, (20, 15, 40, 25)), (90, (25, 10, 35, 30)), (-90, (25, 10, 35, 30)), (45, (19.393, 9.393, 40.607, 30.607))],
)
def test_a_rotated_box_becomes_its_upright_bounding_box(
    rotated: str, degrees: int, box: tuple[float, float, float, float]
) -> None:
    inner = rotated.format(degrees=degrees, radians=math.radians(degrees))
    (labelled_box,) = voc_xml.parse(xml(f"<object><name>cat</name>{inner}</object>"), "a.xml").objects
    assert labelled_box.box == pytest.approx(box, abs=1e-3)


@pytest.mark.parametrize(
    ("filename", "photo"), [("a.jpg", "a.jpg"), ("C:\\photos\\a b.png", "a b.png"), ("/data/ä.jpg ", "ä.jpg"), ("", "")]
)
def test_the_name_of_the_photo_has_no_folders(filename: str, photo: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(f"<annotation><filename>{filename}</filename></annotation>", encoding="utf-8")
    assert voc_xml.photo_name(tmp_path / "a.xml", "a.xml") == photo


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"<annotation>", True),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<annotation verified="yes">', True),
        (b'<?xml version="1.0"?><annotations>', False),
        (b"<project><annotation>", False),
        (b"", False),
    ],
)
def test_an_annotation_is_recognised_by_its_first_element(data: bytes, begins: bool, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    assert voc_xml.is_annotation(tmp_path / "a.xml") == begins


@given(st.binary(max_size=80))
@example(b"<annotation>")
@example(b"<?xml version='1.0' encoding='no-such'?><annotation/>")
@example(b"<?xml version='1.0' encoding='utf-7'?><annotation/>")
@example(b"<annotation/><annotation/>")
def test_bytes_that_are_not_an_annotation_are_rejected_by_name(data: bytes) -> None:
    with pytest.raises(UserError, match=r"^xmls/a\.xml"):
        voc_xml.parse(data, "xmls/a.xml")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "is not valid XML"),
        (b"<html></html>", "starts with <html>, expected <annotation> of PASCAL VOC"),
        (xml(size="<width>64</width>"), "<size><height> is missing"),
        (xml(size="<width>0</width><height>48</height>"), "has the size 0 x 48"),
        (xml(box_object("", 1, 1, 2, 2)), "the <name> of an object is empty"),
        (xml("<object><name>cat</name></object>"), "<bndbox><xmin> is missing"),
        (xml(box_object("cat", "nan", 1, 2, 2)), "<bndbox><xmin> is 'nan', expected a number of pixels"),
        (xml(box_object("cat", 1, "-inf", 2, 2)), "<bndbox><ymin> is '-inf'"),
        (xml(box_object("cat", 1, 1, "1e99", 2)), "<bndbox><xmax> is '1e99'"),
        (xml(box_object("cat", 1, 1, 2, "two")), "<bndbox><ymax> is 'two'"),
        (b" " * (voc_xml.MAX_BYTES + 1), "more than 1000000 bytes"),
    ],
)
def test_errors_start_with_the_name_of_the_file(document: bytes, reason: str) -> None:
    with pytest.raises(UserError) as caught:
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
    ids=["entity expansion", "local file", "remote file"],
)
def test_any_document_type_is_rejected(declaration: bytes) -> None:
    with pytest.raises(UserError, match=r"a\.xml has a document type: remove"):
        voc_xml.parse(declaration + xml(box_object("&y;", 1, 1, 2, 2)), "a.xml")


def test_an_unreadable_file_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^xmls/a\.xml cannot be read \(No such file"):
        voc_xml.read(tmp_path / "a.xml", "xmls/a.xml")
