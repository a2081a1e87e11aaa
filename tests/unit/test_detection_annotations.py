"""Annotation files and record labels: reading, repairing, rejecting, and matching them to images."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin, TiffTags

from serve import preprocess
from serve.preprocess import Frame, frame
from train.data import recordio
from train.data.channels import Channel
from train.data.samples import DataIssues
from train.errors import UserError
from train.object_detection import annotations
from train.object_detection.annotations import FRACTIONS, Annotation
from train.object_detection.hyperparameters import check

HP = check({"num_classes": "3", "num_training_samples": "8", "label_width": "22"})  # 4 objects
ONE = {"class_id": 1, "left": 111, "top": 134, "width": 61, "height": 128}
# The documented example of the built-in algorithm.
DOCUMENTED = {
    "file": "dir/img1.jpg",
    "image_size": [{"width": 500, "height": 400, "depth": 3}],
    "annotations": [ONE, {"class_id": 2.0, "left": 0.5, "top": 0, "width": 1, "height": 2}],
    "categories": [{"class_id": 0, "name": "dog"}, {"class_id": 1, "name": "cat"}],
}


def parse(document: Any) -> Annotation:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return annotations.parse_json(data, "a.json", HP)


def record(*values: float) -> Annotation:
    return annotations.parse_record(np.array(values, np.float32), "r.rec, record 7", HP)


def outcome(call: Callable[..., Annotation], *arguments: Any) -> Annotation | str:
    """Return the parser's result, or the message of its UserError."""
    try:
        return call(*arguments)
    except UserError as error:
        return str(error)


# ---- JSON -------------------------------------------------------------------------------------------------------


def test_the_documented_example_is_read_as_corners() -> None:
    parsed = parse(DOCUMENTED)
    assert parsed.boxes.tolist() == [[1, 111, 134, 172, 262], [2, 0.5, 0, 1.5, 2]]
    assert (parsed.size, parsed.file, parsed.categories) == ((500, 400), "dir/img1.jpg", {0: "dog", 1: "cat"})


def test_only_the_list_of_annotations_is_required_and_it_may_be_empty() -> None:
    parsed = parse({"annotations": []})
    assert (parsed.boxes.shape, parsed.size, parsed.file, parsed.categories) == ((0, 5), None, "", {})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_accepted(encoding: str) -> None:
    assert parse(json.dumps(DOCUMENTED).encode(encoding)).file == "dir/img1.jpg"


def test_invalid_categories_are_ignored() -> None:
    categories = [None, {"class_id": True, "name": "a"}, {"class_id": 0, "name": 3}, {"class_id": 0.5, "name": "b"}, {}]
    assert parse({"annotations": [], "categories": categories}).categories == {}
    assert parse({"annotations": [], "categories": {"class_id": 0}}).categories == {}


def without(key: str) -> dict[str, Any]:
    return {"annotations": [ONE, {name: value for name, value in ONE.items() if name != key}]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "a.json is not JSON"),
        (b"\xff\xd8\xff\xe0", "a.json is not JSON"),
        (b"[" * 100_000, "a.json is not JSON"),
        ([ONE], "a.json has no list `annotations`: an annotation file describes one image, like"),
        ({"annotations": None}, "a.json has no list `annotations`"),
        ({"annotations": [[1, 2, 3, 4]]}, "a.json, annotation 0 is a list: "),
        (without("class_id"), "a.json, annotation 1 lacks the key 'class_id'"),
        (without("height"), "a.json, annotation 1 lacks the key 'height'"),
        ({"annotations": [{**ONE, "left": "11"}]}, 'a.json, annotation 0 has left="11": it must be a number'),
        ({"annotations": [{**ONE, "top": True}]}, "a.json, annotation 0 has top=true: it must be a number"),
        ({"annotations": [{**ONE, "width": {}}]}, "a.json, annotation 0 has width=an object: it must be a number"),
        ({"annotations": [{**ONE, "class_id": 3}]}, "a.json, annotation 0 has the class 3: .* from 0 to 2"),
        ({"annotations": [{**ONE, "class_id": -1}]}, "a.json, annotation 0 has the class -1"),
        ({"annotations": [{**ONE, "class_id": 0.5}]}, "a.json, annotation 0 has the class 0.5"),
        ({"annotations": [{**ONE, "class_id": math.nan}]}, "a.json, annotation 0 has the class nan"),
        (
            {"annotations": [ONE] * 5},
            "a.json has 5 objects but label_width=22 allows 4: set label_width to at least 27",
        ),
        (
            {"annotations": [], "image_size": [{"width": 0, "height": 2}]},
            r'a.json has the image_size \[{"width": 0, "height": 2}\]: width and height must be positive',
        ),
        ({"annotations": [], "image_size": {"width": 5}}, r'a.json has the image_size {"width": 5}: width and height'),
        (
            {"annotations": [], "image_size": [{"width": "wide", "height": "5"}]},
            r'a.json has the image_size \[{"width": "wide", "height": "5"}\]: width and height',
        ),
        ({"annotations": [{**ONE, "class_id": 3}]}, r"\(num_classes=3\); if yours are 1 to 3, subtract 1 from each$"),
        ({"annotations": [], "image_size": "5x5"}, 'a.json has the image_size "5x5"'),
        ({"annotations": [], "image_size": [{"width": math.nan, "height": 2}]}, "a.json has the image_size"),
    ],
)
def test_an_invalid_annotation_file_is_rejected_with_name_position_and_value(document: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(document)


@pytest.mark.parametrize("size", [{"width": "500", "height": " 400.0 "}, [{"width": "5e2", "height": 400}]])
def test_an_image_size_of_numeric_strings_is_accepted(size: Any) -> None:
    assert parse({"annotations": [], "image_size": size}).size == (500, 400)


def test_label_width_limits_the_number_of_objects() -> None:
    assert len(parse({"annotations": [ONE] * 4}).boxes) == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)
NUMBER = st.integers() | st.floats() | st.just(10**400)
OBJECT = st.fixed_dictionaries({}, optional=dict.fromkeys(ONE, NUMBER | JSON))
DOCUMENT = st.fixed_dictionaries(
    {"annotations": st.lists(OBJECT | JSON, max_size=5)},
    optional={"file": JSON, "image_size": st.lists(OBJECT | JSON, max_size=2) | JSON, "categories": JSON},
)
FRAMES = st.builds(Frame, st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 8))


@given(
    st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | DOCUMENT.map(lambda d: json.dumps(d).encode())
)
def test_any_file_gives_boxes_or_a_user_error(data: bytes) -> None:
    parsed = outcome(annotations.parse_json, data, "a.json", HP)
    if isinstance(parsed, str):
        assert parsed.startswith("a.json")
        parsed.encode()  # the message must be encodable
    else:
        assert parsed.boxes.shape == (len(parsed.boxes), 5)
        assert parsed.boxes.dtype == np.float64
        assert set(parsed.boxes[:, 0]) <= {0.0, 1.0, 2.0}


# ---- RecordIO ---------------------------------------------------------------------------------------------------


def test_a_record_from_im2rec_is_read() -> None:
    parsed = record(2, 5, 1, 0.25, 0.5, 0.75, 1, 0, 0, 0, 0.5, 0.5)
    assert parsed.boxes.tolist() == [[1, 0.25, 0.5, 0.75, 1], [0, 0, 0, 0.5, 0.5]]
    assert parsed.size == FRACTIONS


def test_extra_values_in_header_and_objects_are_ignored() -> None:
    parsed = record(4, 6, 640, 480, 1, 0.25, 0.5, 0.75, 1, 0, 2, 0, 0, 0.5, 0.5, 1)
    assert parsed.boxes.tolist() == [[1, 0.25, 0.5, 0.75, 1], [2, 0, 0, 0.5, 0.5]]


@pytest.mark.parametrize("header", [(2, 5), (2, 6), (4, 5, 0, 0)])
def test_a_record_with_only_a_header_has_no_boxes(header: tuple[float, ...]) -> None:
    assert record(*header).boxes.shape == (0, 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "has 0 label values, as in image-classification"),
        ((1,), "has 1 label value, as in image-classification"),
        ((2, 4, 0, 0, 0, 1, 1), "begins with 2, 4: a detection record begins with the width of its header"),
        ((1, 5, 0, 0, 0, 1, 1), "begins with 1, 5"),
        ((9, 5, 0, 0, 0, 1, 1), "begins with 9, 5: .* 2 to 7 values"),
        ((2.5, 5, 0, 0, 0, 1, 1), "begins with 2.5, 5"),
        ((math.nan, 5), "begins with nan, 5"),
        ((2, math.inf), "begins with 2, inf"),
        ((2, 5, 0, 0, 0, 1), "has 4 values after its header of 2, which is not a whole number of objects of 5 values"),
        ((2, 1e30, 0, 0, 0, 1, 1), "which is not a whole number of objects"),
        ((2, 5, 3, 0, 0, 1, 1), "object 0 has the class 3"),
        ((2, 5, 0, 0, 0, 1, 1, -1, 0, 0, 1, 1), "object 1 has the class -1"),
        ((2, 5, *(0, 0, 0, 1, 1) * 5), "has 5 objects but label_width=22 allows 4: set label_width to at least 27"),
    ],
)
def test_an_invalid_detection_record_is_rejected_with_its_number(values: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=rf"r\.rec, record 7.*{message}"):
        record(*values)


WIDTHS = st.sampled_from([1.0, 2.0, 3.0, 5.0, 6.0])
VALUES = st.floats(width=32) | st.sampled_from([0.0, 1.0, 2.0, 0.5, -1.0])


@given(
    st.lists(VALUES) | st.builds(lambda header, width, rest: [header, width, *rest], WIDTHS, WIDTHS, st.lists(VALUES))
)
def test_any_record_gives_boxes_or_a_user_error(values: list[float]) -> None:
    parsed = outcome(record, *values)
    if isinstance(parsed, str):
        assert parsed.startswith("r.rec, record 7")
    else:
        assert parsed.boxes.shape == (len(parsed.boxes), 5)


# ---- placing boxes on images ------------------------------------------------------------------------------------


def file(image: Image.Image, form: str, orientation: int, **how: Any) -> bytes:
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(data, form, exif=exif, **({"quality": 95} if form == "JPEG" else how))
    return data.getvalue()


def xmp_tiff(image: Image.Image, orientation: int, tag: int | None, compression: str | None) -> bytes:
    """Return a TIFF with the orientation in XMP, as photo editors write it. `tag` is TIFF's own orientation, if any."""
    directory, data = TiffImagePlugin.ImageFileDirectory_v2(), io.BytesIO()
    directory[700] = f'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="{orientation}"/>'.encode()
    directory.tagtype[700] = TiffTags.BYTE
    if tag is not None:
        directory[0x0112] = tag
    image.save(data, "TIFF", tiffinfo=directory, compression=compression)
    return data.getvalue()


TIFFS: dict[str, Callable[[Image.Image, int], bytes]] = {
    "LZW TIFF": lambda image, orientation: file(image, "TIFF", orientation, compression="tiff_lzw"),
    "JPEG TIFF": lambda image, orientation: file(image, "TIFF", orientation, compression="jpeg"),
    "TIFF with two pages": lambda image, orientation: file(
        image, "TIFF", orientation, save_all=True, append_images=[Image.new("RGB", (9, 9))]
    ),
    "TIFF rotated by XMP": lambda image, orientation: xmp_tiff(image, orientation, None, None),
    "LZW TIFF rotated by XMP": lambda image, orientation: xmp_tiff(image, orientation, None, "tiff_lzw"),
    "TIFF rotated by both": lambda image, orientation: xmp_tiff(image, orientation, orientation, None),
    "TIFF with a tag that overrides XMP": lambda image, orientation: xmp_tiff(image, 6, orientation, None),
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", *TIFFS])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_for_stored_pixels_are_rotated_with_the_photo(form: str, orientation: int) -> None:
    stored = Image.new("RGB", (96, 64))
    stored.paste("white", (16, 8, 48, 24))
    data = TIFFS[form](stored, orientation) if form in TIFFS else file(stored, form, orientation)
    upright = np.asarray(preprocess.decode(data, 1))[..., None].max(axis=2) > 128
    rows, columns = np.flatnonzero(upright.any(axis=1)), np.flatnonzero(upright.any(axis=0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    for size in (None, (96, 64)):
        annotation = Annotation(np.array([[1.0, 16, 8, 48, 24]]), size)
        placed = annotations.place(annotation, frame(data))
        height, width = upright.shape
        assert placed[0] == pytest.approx([1, *np.array(seen) / [width, height, width, height]], abs=0.02)


def test_boxes_of_a_rotated_photo_are_upright_if_image_size_is() -> None:
    annotation = Annotation(np.array([[0.0, 10, 20, 30, 40]]), (50, 100))
    placed = annotations.place(annotation, Frame(100, 50, 6))
    assert placed.tolist() == [[0, 0.2, 0.2, 0.6, 0.4]]


def test_boxes_of_a_rotated_square_photo_are_for_stored_pixels() -> None:
    placed = annotations.place(Annotation(np.array([[0.0, 0, 0, 50, 10]]), (100, 100)), Frame(100, 100, 6))
    assert placed.tolist() == pytest.approx(np.array([[0, 0.9, 0, 1, 0.5]]))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_boxes_for_another_image_size_are_not_placed(orientation: int) -> None:
    assert annotations.place(Annotation(np.zeros((1, 5)), (99, 50)), Frame(100, 50, orientation)) is None


def test_a_swapped_size_does_not_match_a_photo_that_is_not_rotated() -> None:
    assert annotations.place(Annotation(np.zeros((1, 5)), (50, 100)), Frame(100, 50, 3)) is None


def test_fractions_of_a_record_are_rotated_with_the_photo() -> None:
    placed = annotations.place(record(2, 5, 1, 0, 0, 0.5, 0.25), Frame(640, 480, 6))
    assert placed.tolist() == [[1, 0.75, 0, 1, 0.5]]


def test_damaged_exif_does_not_change_boxes() -> None:
    whole = io.BytesIO()
    Image.new("RGB", (20, 10)).save(whole, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        assert frame(whole.getvalue()) == Frame(20, 10, 1)


def test_bad_boxes_are_dropped_or_clipped_and_reported() -> None:
    issues = DataIssues()
    kept = annotations.repair(
        np.array(
            [
                [0, 0.1, 0.1, 0.5, 0.5],
                [1, 0.5, 0.1, 0.5, 0.5],  # no width
                [1, 0.5, 0.5, 0.6, 0.4],  # upside down
                [1, -0.5, 0.5, 0.5, 1.5],  # partly outside
                [1, 1.0, 0.5, 1.5, 0.6],  # outside
                [1, np.nan, 0, 1, 1],
                [1, 0, 0, 1, np.inf],
                [2, 0, 0, 1 + 1e-7, 1],  # outside only by rounding
                [2, 0.5, 0.5, 0.5 + 1e-9, 1],  # no width in float32
            ]
        ),
        "a.jpg",
        issues,
    )
    assert kept.dtype == np.float32
    assert kept.tolist() == np.float32([[0, 0.1, 0.1, 0.5, 0.5], [1, 0, 0.5, 0.5, 1], [2, 0, 0, 1, 1]]).tolist()
    assert issues.names == {
        "boxes with zero area, dropped": ["a.jpg box 1", "a.jpg box 2", "a.jpg box 8"],
        "boxes partly outside their image, clipped": ["a.jpg box 3"],
        "boxes outside their image, dropped": ["a.jpg box 4"],
        "boxes with a side that is NaN or infinite, dropped": ["a.jpg box 5", "a.jpg box 6"],
    }


def test_issues_are_logged_in_one_line_per_kind_with_the_first_ten_names(caplog: pytest.LogCaptureFixture) -> None:
    issues = DataIssues()
    for number in range(12):
        issues.add("boxes with zero area, dropped", f"b{number}")
    issues.add("images without an annotation file, left out", "x.jpg")
    with caplog.at_level("WARNING", logger="train"):
        issues.log()
    assert caplog.messages == [
        "boxes with zero area, dropped: 12 (b0, b1, b2, b3, b4, b5, b6, b7, b8, b9 and 2 more)",
        "images without an annotation file, left out: 1 (x.jpg)",
    ]


SIDE = st.floats(-200, 6000) | st.floats() | st.integers(0, 600)
PLACEABLE = st.fixed_dictionaries(
    {"class_id": st.integers(0, 2), **dict.fromkeys(("left", "top", "width", "height"), SIDE)}
)


@given(st.lists(PLACEABLE, max_size=4), FRAMES)
def test_repaired_boxes_are_on_the_image_with_a_positive_area(objects: list[Any], frame: Frame) -> None:
    issues = DataIssues()
    kept = annotations.repair(annotations.place(parse({"annotations": objects}), frame), "a.jpg", issues)
    assert kept.dtype == np.float32
    assert ((kept[:, 1:] >= 0) & (kept[:, 1:] <= 1)).all()
    assert (kept[:, 3:] > kept[:, 1:3]).all()
    dropped = sum(len(names) for kind, names in issues.names.items() if kind.endswith("dropped"))
    assert len(kept) + dropped == len(objects), "dropped boxes must be named"


# ---- channels ---------------------------------------------------------------------------------------------------


def channels(base: Path, images: list[str], notes: dict[str, Any]) -> tuple[Channel, Channel]:
    """Write channels of empty image files and annotation files. The values of `notes` are the key `file`."""
    for name in images:
        (base / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "train" / name).write_bytes(b"")
    for name, value in notes.items():
        path = base / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"annotations": [ONE]} | ({"file": value} if value else {})
        path.write_text(value if name.endswith(".txt") else json.dumps(document))
    (base / "train").mkdir(exist_ok=True)
    (base / "notes").mkdir(exist_ok=True)
    return Channel("train", base / "train", ""), Channel("train_annotation", base / "notes", "")


def listed(base: Path, images: list[str], notes: dict[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    issues = DataIssues()
    listing = annotations.list_files(*channels(base, images, notes), HP, issues)
    assert set(listing.annotations) == {sample.name for sample in listing.samples}
    assert all(sample.path.is_file() for sample in listing.samples)
    return [sample.name for sample in listing.samples], issues.names


def test_an_image_is_found_by_the_key_file_or_else_by_base_name_at_any_depth(tmp_path: Path) -> None:
    images = ["dir/one.jpg", "two.PNG", "deep/er/three.jpeg", "a b.jpg", "by file"]
    notes = {
        "1.json": "dir/one.jpg",
        "two.json": "gone/two.png",
        "x/three.json": "",
        "a b.json": "",
        "6.json": "by file",
    }
    assert listed(tmp_path, images, notes) == (sorted(images), {})


def test_images_with_the_same_base_name_are_distinguished_by_folder(tmp_path: Path) -> None:
    names, issues = listed(tmp_path, ["a/1.jpg", "b/1.jpg"], {"a/1.json": "", "b/1.json": ""})
    assert (names, issues) == (["a/1.jpg", "b/1.jpg"], {})


def test_unpaired_files_are_skipped_and_reported(tmp_path: Path) -> None:
    names, issues = listed(
        tmp_path, ["1.jpg", "2.jpg", "3.png", "readme.txt", ".4.jpg"], {"1.json": "", "5.json": "", "._1.json": ""}
    )
    assert names == ["1.jpg"]
    assert issues == {
        "annotation files without an image, left out": ["5.json"],
        "images of train without an annotation file, left out": ["2.jpg", "3.png"],
    }


def test_an_annotation_cannot_refer_to_files_outside_its_channel(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"")
    names, issues = listed(tmp_path, ["1.jpg"], {"1.json": "", "2.json": "../secret.jpg", "3.json": "/etc/hostname"})
    assert names == ["1.jpg"]
    assert issues == {"annotation files without an image, left out": ["2.json", "3.json"]}


@pytest.mark.parametrize(
    ("images", "notes", "message"),
    [
        (["1.jpg"], {}, r"channel 'train_annotation' has no \.json file but must have .*: it holds nothing"),
        (["1.jpg"], {"note.txt": "x"}, r": it holds note\.txt"),
        (["1.jpg"], {"2.json": ""}, r"no annotation file of 'train_annotation' belongs .* holds 1\.jpg"),
        (["a/1.jpg", "b/1.jpg"], {"1.json": ""}, r"1\.json could belong to a/1\.jpg or b/1\.jpg"),
        (["1.jpg", "1.png"], {"1.json": ""}, r"1\.json could belong to 1\.jpg or 1\.png"),
        (["1.jpg"], {"1.json": "", "2.json": "1.jpg"}, r"1\.json and 2\.json both belong to the image 1\.jpg"),
    ],
)
def test_channels_that_cannot_be_paired_are_rejected(
    images: list[str], notes: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        listed(tmp_path, images, notes)


def test_a_bad_annotation_file_is_named_with_its_folder(tmp_path: Path) -> None:
    images, notes = channels(tmp_path, ["1.jpg"], {"a/1.json": ""})
    (notes.path / "a" / "1.json").write_text("{")
    with pytest.raises(UserError, match=r"a/1\.json is not JSON"):
        annotations.list_files(images, notes, HP, DataIssues())


def boxed(base: Path, *boxes: tuple[float, float, float, float]) -> dict[str, list[str]]:
    """List images with one box each (left, top, width, height), and return the issues."""
    names = [f"{number}.jpg" for number in range(len(boxes))]
    images, notes = channels(base, names, {f"{number}.json": "" for number in range(len(boxes))})
    for number, box in enumerate(boxes):
        note = {"class_id": 0, **dict(zip(("left", "top", "width", "height"), box, strict=True))}
        (notes.path / f"{number}.json").write_text(json.dumps({"annotations": [note]}))
    issues = DataIssues()
    annotations.list_files(images, notes, HP, issues)
    return issues.names


def test_boxes_in_fractions_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        boxed(tmp_path, (0.31, 0.2, 0.4, 0.5), (0, 0, 1, 1), (0.5, -0.1, 0.7, 0.3))
    assert str(caught.value).startswith(
        "boxes of 'train_annotation' must be in pixels but look like fractions: 0.json has a box from 0.31, 0.2 to "
        "0.71, 0.7; multiply them by the image's width and height"
    )


def test_tiny_boxes_in_a_channel_with_pixels_are_accepted_and_named(tmp_path: Path) -> None:
    assert boxed(tmp_path, (0.31, 0.2, 0.4, 0.5), (0, 0, 2, 3), (30, 30, 1, 1)) == {
        "annotation files whose boxes end within 2 pixels of the corner and may be in fractions": ["0.json"]
    }


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (math.nan, 0, 1, 1), (0, 0, 3, 1), (0, 1, 0.5, 2)])
def test_boxes_without_area_and_small_boxes_in_pixels_do_not_count_as_fractions(
    box: tuple[float, float, float, float], tmp_path: Path
) -> None:
    assert boxed(tmp_path, box, box) == {}


def test_fractions_are_accepted_with_an_image_size_of_1(tmp_path: Path) -> None:
    images, notes = channels(tmp_path, ["1.jpg"], {"1.json": ""})
    box = {"class_id": 0, "left": 0.1, "top": 0.2, "width": 0.3, "height": 0.4}
    (notes.path / "1.json").write_text(
        json.dumps({"image_size": [{"width": 1, "height": 1, "depth": 3}], "annotations": [box]})
    )
    parsed = annotations.list_files(images, notes, HP, DataIssues()).annotations["1.jpg"]
    assert annotations.place(parsed, Frame(640, 480, 1)) == pytest.approx(np.array([[0, 0.1, 0.2, 0.4, 0.6]]))


def recorded(base: Path, *boxes: tuple[float, float, float, float]) -> int:
    """List records with one box each (xmin, ymin, xmax, ymax), and return their number."""
    with recordio.Writer(base / "train.rec") as writer:
        for number, box in enumerate(boxes):
            writer.write(recordio.pack_image([2, 5, 0, *box], number, b"x"))
    return len(annotations.list_records(base / "train.rec", HP).samples)


def test_records_with_boxes_in_pixels_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        recorded(tmp_path, (31, 20, 90, 80), (0, 0, 50, 40))
    assert str(caught.value).startswith(
        "labels of train.rec must be fractions from 0 to 1 but look like pixels: they go up to 90; divide them by "
        "the image's width and height"
    )


@pytest.mark.parametrize("box", [(0.5, 0.5, 1.5, 1.2), (31, 20, 90, 80), (math.nan, 0, 1, 1)])
def test_records_with_a_few_boxes_outside_the_image_are_accepted(
    box: tuple[float, float, float, float], tmp_path: Path
) -> None:
    assert recorded(tmp_path, (0, 0, 0.5, 0.5), box, (0, 0, 1, 1)) == 3


def test_records_are_listed_in_order_with_their_boxes(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    with recordio.Writer(path) as writer:
        for number in range(3):
            writer.write(recordio.pack_image([2, 5, number, 0, 0, 0.5, 0.5], number, b"image %d" % number))
    parsed = annotations.list_records(path, HP)
    assert [sample.read() for sample in parsed.samples] == [b"image 0", b"image 1", b"image 2"]
    assert [parsed.annotations[sample.name].boxes[0, 0] for sample in parsed.samples] == [0, 1, 2]


def test_a_record_with_a_bad_label_is_named_with_file_and_number(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    with recordio.Writer(path) as writer:
        writer.write(recordio.pack_image([2, 5, 0, 0, 0, 0.5, 0.5], 0, b"x"))
        writer.write(recordio.pack_image(1.0, 1, b"x"))
    with pytest.raises(UserError, match=r"train\.rec, record 1 has 1 label value"):
        annotations.list_records(path, HP)


@pytest.mark.parametrize(
    ("categories", "names"),
    [
        ([{0: "a", 1: "b", 2: "c"}], ("a", "b", "c")),
        ([{0: "a"}, {1: "b"}, {2: "c", 0: "a"}], ("a", "b", "c")),
        ([{0: "a", 1: "b"}], None),  # a class has no name
        ([{0: "a", 1: "b", 2: "c"}, {0: "d"}], None),  # a class has two names
        ([{0: "a", 1: "b", 2: "c", 3: "d"}], None),  # a class that does not exist
        ([{}], None),
    ],
)
def test_categories_give_the_class_names_only_if_all_files_agree(
    categories: list[dict[int, str]], names: tuple[str, ...] | None
) -> None:
    parsed = [Annotation(np.zeros((0, 5)), categories=mapping) for mapping in categories]
    assert annotations.class_names(annotations.categories(parsed), 3) == names
