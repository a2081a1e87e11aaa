"""YOLO's text files in `prepare`: what is read, and what is rejected or left out by file and line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from local import __main__ as program
from local.datasets import layouts
from local.datasets.dataset import FRACTIONS, UNUSABLE
from local.datasets.files import path_suffixes
from local.datasets.layouts.pets import reader as pets
from local.datasets.layouts.yolo import data_yaml as yolo_yaml
from local.datasets.layouts.yolo import label_file as yolo_txt
from local.datasets.layouts.yolo import reader as yolo
from local.errors import UserError
from tests.photos import encode, encode_rotated, quarters
from tests.unit import few_pets
from tests.unit.layouts import boxes, notes, prepare, write_files

LINE = "1 0.5 0.25 0.5 0.5\n"
BOX = (0.25, 0, 0.75, 0.5)
NAMES = "names: [cat, dog]\n"


def lay_out(root: Path, *photos: str, **files: str) -> Path:
    """Write empty photos, and files with these texts by their paths."""
    return write_files(root, {**dict.fromkeys(photos, b""), **files})


@pytest.mark.parametrize(
    ("photo", "label"),
    [
        ("images/ä 1.jpg", "labels/ä 1.txt"),
        ("images/train/1.jpg", "labels/train/1.txt"),
        ("train/images/a.b.jpeg", "train/labels/a.b.txt"),
        ("images/train/images/1.jpg", "images/train/labels/1.txt"),
        ("obj_train_data/1.PNG", "obj_train_data/1.txt"),
        ("1.jpg", "1.txt"),
        ("images/1.jpg", "images/1.txt"),
    ],
)
def test_a_label_file_is_in_labels_or_next_to_its_photo(photo: str, label: str, tmp_path: Path) -> None:
    layout = layouts.detect(lay_out(tmp_path, photo, **{label: LINE, "data.yaml": NAMES}))
    assert str(layout) == f"{tmp_path} is read as yolo: {label} has lines of a class number and fractions"
    data = layout.read("detection")
    assert boxes(data) == {photo: [("dog", BOX)]}
    assert [(entry.target.size, entry.target.upright) for entry in data.entries] == [(FRACTIONS, True)]
    assert data.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "lines",
    [
        LINE,
        f"\ufeff{LINE}\r\n\n",
        "1\t.5 2.5e-1 0.500 +0.5",
        "1.0 0.5 0.25 0.5 0.5",
        "1 0.25 0 0.75 0 0.75 0.5",
        "1 0.75 0.5 0.25 0.5 0.25 0 0.75 0",
        "1 0.5 0.25 0.5 0.5 0.87",
    ],
)
def test_a_line_is_a_box_and_a_polygon_becomes_its_bounding_box(lines: str) -> None:
    (line,) = yolo_txt.parse(lines.encode(), "a.txt")
    assert (line.number, line.box) == (1, BOX)


def test_a_photo_without_a_label_line_or_file_is_background(tmp_path: Path) -> None:
    data = yolo.detection(
        lay_out(
            tmp_path, "images/1.jpg", "images/2.jpg", "images/x/3.jpg", **{"labels/1.txt": LINE, "labels/2.txt": "\n"}
        )
    )
    assert boxes(data) == {"images/1.jpg": [("1", BOX)], "images/2.jpg": [], "images/x/3.jpg": []}


def test_unused_files_and_entries_are_listed_with_a_reason(tmp_path: Path) -> None:
    files = {
        "train/labels/1.txt": "0 .1 .1 .9 .1 .9 .9\n",
        "train/labels/2.txt": "0 .5 .5 .5 .5 .99\n",
        "train/labels/3.txt": "0 .5 .5 .5\n",
        "train/labels/gone.txt": LINE,
        "test/labels/4.txt": LINE,
        "README.txt": "5 photos",
        "data.yaml": "train: ../train/images\nval: ../valid/images\n" + NAMES,
    }
    photos = [f"train/images/{number}.jpg" for number in (1, 2, 3)]
    data = yolo.detection(lay_out(tmp_path, *photos, "test/images/4.jpg", "logo.png", **files))
    assert list(boxes(data)) == photos[:2]
    assert notes(data) == {
        yolo.ELSEWHERE: ["logo.png"],
        "label files without a photo, left out": ["train/labels/gone.txt"],
        "photos of a test part, left out": ["test/images/4.jpg"],
        UNUSABLE: ["train/labels/3.txt line 1 has 4 numbers: expected `class cx cy width height`"],
        yolo_txt.POLYGONS: ["train/labels/1.txt"],
        yolo_txt.SCORES: ["train/labels/2.txt"],
    }


def test_a_label_file_of_two_photos_is_left_out_with_both(tmp_path: Path) -> None:
    photos = ["images/1.jpg", "images/1.png", "images/2.jpg", "images/3.jpg"]
    data = yolo.detection(
        lay_out(tmp_path, *photos, **{"labels/1.txt": LINE, "labels/2.txt": LINE, "labels/3.txt": LINE})
    )
    assert list(boxes(data)) == photos[2:]
    assert notes(data)[UNUSABLE] == [
        "labels/1.txt belongs to 1.jpg and another photo: rename one of the photos",
        "labels/1.txt belongs to 1.png and another photo: rename one of the photos",
    ]


# ---- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"data.yaml": "names: ['cat', no, 1.50]\nnc: 3\n"}, ("cat", "no", "1.50")),
        ({"coco8.yaml": "# a\nnames:\n  0: cat\n  1: big   dog\n"}, ("cat", "big dog")),
        ({"x/dataset.yml": "names:\n- cat\n- Müsli\n"}, ("cat", "Müsli")),
        ({"data.yaml": '\ufeffnames: ["cat", "dog"]\r\n'}, ("cat", "dog")),
        ({"data.yaml": "names: {3: cat, 1: dog}"}, ("dog", "cat")),
        ({"data.yaml": "names: &a [cat, dog]\nmore: [*a, *a]\n"}, ("cat", "dog")),
        ({"hyp.yaml": "lr0: 0.1\n", "labels/classes.txt": "cat\r\ndog\n\n"}, ("cat", "dog")),
        ({"obj.names": "cat\ndog"}, ("cat", "dog")),
        ({"train/_darknet.labels": "cat\ndog", "valid/_darknet.labels": "cat\ndog\n"}, ("cat", "dog")),
        ({"data.yaml": NAMES, "classes.txt": "bee\nfly\n"}, ("cat", "dog")),
        ({}, ("1",)),
    ],
)
def test_class_names_come_from_the_yaml_file_or_a_list_or_the_numbers(
    files: dict[str, str], names: tuple[str, ...], tmp_path: Path
) -> None:
    data = yolo.detection(lay_out(tmp_path, "images/1.jpg", **{"labels/1.txt": LINE, **files}))
    assert data.class_names == names
    assert notes(data) == {}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data.yaml": "names: [cat\n"}, "data.yaml is not valid YAML (expected ',' or ']'"),
        ({"data.yaml": "names: " + "[" * 2000}, "data.yaml is not valid YAML ("),
        ({"data.yaml": "names: \x00"}, "data.yaml is not valid YAML ("),
        (
            {"data.yaml": "names: cat\n"},
            "data.yaml has names that are neither a list nor a mapping: write `names: [cat, dog]`",
        ),
        ({"data.yaml": "names: []\n"}, "data.yaml has names that are neither a list nor a mapping"),
        ({"data.yaml": "names: {cat: 0}\n"}, "data.yaml has names with the key 'cat': use class numbers as keys"),
        (
            {"data.yaml": "names: [cat, [dog]]\n"},
            "data.yaml has a name for class 1 that is not a string: write `1: cat`",
        ),
        ({"data.yaml": "names: [cat, '']\n"}, "data.yaml names class 1: the name is empty: give the class a name"),
        ({"data.yaml": "names: [a]\n#" + "x" * 1_000_000}, "data.yaml has more than 1000000 bytes"),
        ({"classes.txt": "\n"}, "classes.txt, line 1: the name is empty"),
        ({"classes.txt": "cat\n\ndog\n"}, "classes.txt, line 2: the name is empty"),
        (
            {"a/classes.txt": "cat\ndog", "b/classes.txt": "dog\ncat"},
            "b/classes.txt and a/classes.txt have different classes",
        ),
        ({"data.yaml": "names: [cat]\n"}, "labels/1.txt has the class 1, which is not in data.yaml: add it there"),
    ],
)
def test_invalid_class_names_are_rejected_with_the_file_and_the_fix(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        yolo.detection(lay_out(tmp_path, "images/1.jpg", **{"labels/1.txt": LINE, **files}))
    assert str(error.value).startswith(message)


def test_nested_aliases_in_a_yaml_file_do_not_use_up_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60))]
    merges = ["m0: &m0 {x: y}", *(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}" for n in range(1, 60))]
    text = "\n".join([*lines, *merges, "names: [*a59]"])
    with pytest.raises(UserError, match="has a name for class 0 that is not a string"):
        yolo.detection(lay_out(tmp_path, "images/1.jpg", **{"labels/1.txt": LINE, "data.yaml": text}))


def test_keypoints_after_a_box_are_left_out_if_the_yaml_file_declares_them(tmp_path: Path) -> None:
    files = {"labels/1.txt": "1 0.5 0.25 0.5 0.5 .1 .1 2 300 .9 1\n", "data.yaml": NAMES + "kpt_shape: [2, 3]\n"}
    data = yolo.detection(lay_out(tmp_path, "images/1.jpg", **files))
    assert boxes(data) == {"images/1.jpg": [("dog", BOX)]}
    assert notes(data) == {yolo_txt.KEYPOINTS: ["labels/1.txt"]}


# ---- parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, {"a/images/1.jpg": "", "train/images/1.jpg": "train", "valid/images/2.jpg": "validation"}),
        (
            "train: ../train/images\nval: ../valid/images\n",
            {"a/images/1.jpg": "", "train/images/1.jpg": "train", "valid/images/2.jpg": "validation"},
        ),
        (
            "path: ../datasets/x\ntrain: [valid/images/, 'a\\images']\nval: /content/train/images\n",
            {"a/images/1.jpg": "train", "train/images/1.jpg": "validation", "valid/images/2.jpg": "train"},
        ),
        (
            "train: lists/t.txt\nval: v.txt\n",
            {"a/images/1.jpg": "validation", "train/images/1.jpg": "train", "valid/images/2.jpg": ""},
        ),
        (
            "train: train/images\nval: train/images\ntest: a\n",  # as in ultralytics' coco128
            {"a/images/1.jpg": "", "train/images/1.jpg": "train", "valid/images/2.jpg": "validation"},
        ),
        (
            "train: nowhere\nval: valid\n",
            {"a/images/1.jpg": "", "train/images/1.jpg": "train", "valid/images/2.jpg": "validation"},
        ),
        (
            "train: a\nval: valid/images\ntest: valid/images\n",
            {"a/images/1.jpg": "train", "train/images/1.jpg": "", "valid/images/2.jpg": "validation"},
        ),
        ("train: a\nval: valid\ntest: train\n", {"a/images/1.jpg": "train", "valid/images/2.jpg": "validation"}),
    ],
)
def test_the_parts_come_from_the_yaml_file_if_it_names_both_and_otherwise_from_the_folders(
    text: str | None, parts: dict[str, str], tmp_path: Path
) -> None:
    photos = ["a/images/1.jpg", "train/images/1.jpg", "valid/images/2.jpg"]
    files = {photo.replace("images", "labels").replace("jpg", "txt"): LINE for photo in photos}
    lists = {"lists/t.txt": "./train/images/1.jpg\n\n", "v.txt": "/x/a/images/1.jpg\r\nno.jpg\n"}
    yaml = {} if text is None else {"data.yaml": text + NAMES}
    data = yolo.detection(lay_out(tmp_path, *photos, **files, **lists, **yaml))
    assert {entry.path.relative_to(tmp_path).as_posix(): entry.part for entry in data.entries} == parts


@pytest.mark.parametrize("path", ["a" * 5000, "/".join("ab" * 2000), "../..", "x\0y", "{}"])
def test_a_path_that_leads_nowhere_is_ignored(path: str, tmp_path: Path) -> None:
    files = {"labels/1.txt": LINE, "data.yaml": f'train: "{path}"\n{NAMES}'.replace("\0", "\\0")}
    assert len(yolo.detection(lay_out(tmp_path, "images/1.jpg", **files)).entries) == 1


# ---- invalid labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 320 240 50 60", "labels/1.txt line 2 has 320: expected a fraction of the photo, from 0 to 1"),
        ("0 0.5 0.5 0.5 1.02", "labels/1.txt line 2 has 1.02: expected a fraction"),
        ("0 -0.5 0.5 0.5 0.5", "labels/1.txt line 2 has -0.5: expected a fraction"),
        ("0 .1 .2 .3 .4 .5 7", "labels/1.txt line 2 has 7: expected a fraction"),
        ("0 nan 0.5 0.5 0.5", "labels/1.txt line 2 has nan: expected a fraction"),
        ("0 0.5 inf 0.5 0.5", "labels/1.txt line 2 has inf: expected a fraction"),
        ("cat 0.5 0.5 0.5 0.5", "labels/1.txt line 2 is 'cat 0.5 0.5 0.5 0.5': expected `class cx cy width height`"),
        ("0 0,5 0,5 0,5 0,5", "labels/1.txt line 2 is '0 0,5 0,5 0,5 0,5': expected"),
        ("0 0.5 0.5 0.5", "labels/1.txt line 2 has 4 numbers: expected `class cx cy width height`"),
        ("0 .1 .2 .3 .4 .5 .6 .7", "labels/1.txt line 2 has 8 numbers: expected `class cx cy width height`"),
        ("-1 0.5 0.5 0.5 0.5", "labels/1.txt line 2 has the class -1: expected a whole number from 0"),
        ("0.5 0.5 0.5 0.5 0.5", "labels/1.txt line 2 has the class 0.5: expected a whole number from 0"),
        ("nan 0.5 0.5 0.5 0.5", "labels/1.txt line 2 has the class nan: expected a whole number from 0"),
        ("1e300 0.5 0.5 0.5 0.5", "labels/1.txt line 2 has the class 1e300: expected a whole number from 0"),
    ],
)
def test_a_photo_with_a_bad_line_is_left_out_with_file_line_and_value(line: str, message: str, tmp_path: Path) -> None:
    files = {"labels/1.txt": f"\n{line}\n", "labels/2.txt": LINE}
    data = yolo.detection(lay_out(tmp_path, "images/1.jpg", "images/2.jpg", **files))
    assert list(boxes(data)) == ["images/2.jpg"]
    (reason,) = notes(data)[UNUSABLE]
    assert reason.startswith(message)


def test_more_bad_files_than_good_ones_are_rejected(tmp_path: Path) -> None:
    files = {"labels/1.txt": "0 320 240 50 60", "labels/2.txt": "0 32 24 50 60", "labels/3.txt": LINE}
    data = lay_out(tmp_path, *(f"images/{number}.jpg" for number in (1, 2, 3)), **files)
    with pytest.raises(
        UserError, match=r"^labels/1\.txt line 1 has 320: .* \(2 photos of 3 below .* cannot be used\)$"
    ):
        yolo.detection(data)


@pytest.mark.parametrize(
    "files",
    [{}, {"labels/1.txt": ""}, {"images/1.txt": "a cat on a mat"}, {"other/1.txt": LINE}, {"images/1.txt": "1 2 3"}],
)
def test_a_folder_without_label_lines_is_not_taken_for_yolo(files: dict[str, str], tmp_path: Path) -> None:
    assert yolo.recognise(lay_out(tmp_path, "images/1.jpg", **files)) is None
    with pytest.raises(UserError, match=r"has no boxes: add lines|line 1 "):
        layouts.detect(tmp_path, "yolo").read("detection")


@given(st.binary(max_size=40) | st.text("0123456789.-e \n", max_size=40).map(str.encode))
@example(b"1 1 1 1 \xff")
@example("\u0661 1 1 1 1".encode())
def test_any_bytes_are_lines_of_boxes_or_rejected(data: bytes) -> None:
    try:
        lines = yolo_txt.parse(data, "a.txt")
    except UserError as error:
        message = str(error)
    else:
        message = "a.txt line"
        assert all(-1 <= edge <= 2 for line in lines for edge in line.box)
    assert message.startswith("a.txt line")
    assert message.encode()


@given(st.text(max_size=60) | st.text("names:[]{}&*a01-\n ,'\"!<", max_size=60).map(lambda text: f"names: {text}"))
def test_any_yaml_has_class_names_or_is_rejected(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = lay_out(tmp_path_factory.getbasetemp() / "any yaml")
    root.mkdir(exist_ok=True)
    (root / "data.yaml").write_text(text, encoding="utf-8")
    try:
        about = yolo_yaml.read(root, path_suffixes.photos(root))
    except UserError as error:
        message = str(error)
    else:
        message = "data.yaml"
        assert all(name == " ".join(name.split()) != "" for name in (about.names or {}).values())
    assert message.startswith("data.yaml")


FRACTION = st.floats(0, 1)


@given(st.lists(st.tuples(st.integers(0, 80), FRACTION, FRACTION, FRACTION, FRACTION), max_size=5))
def test_written_lines_are_read_back(rows: list[tuple[int, float, float, float, float]]) -> None:
    text = "".join(f"{' '.join(map(repr, row))}\n" for row in rows)
    read = [
        (line.number, (x + right) / 2, (y + bottom) / 2, right - x, bottom - y)
        for line in yolo_txt.parse(text.encode(), "a.txt")
        for x, y, right, bottom in [line.box]
    ]
    assert np.allclose(np.array(read).reshape(-1, 5), np.array(rows).reshape(-1, 5), atol=1e-12)


# ---- photos -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_fractions_refer_to_the_upright_photo(orientation: int, tmp_path: Path) -> None:
    text = "0 0.25 0.25 0.5 0.5\n"
    data = lay_out(tmp_path / "in", "images/1.jpg", "images/2.jpg", **{"labels/1.txt": text, "labels/2.txt": text})
    (data / "images" / "1.jpg").write_bytes(encode_rotated(quarters(60, 40), orientation))
    (data / "images" / "2.jpg").write_bytes(encode_rotated(Image.new("RGB", (60, 40)), orientation))
    truths = prepare("object-detection", data, tmp_path / "out").truths.values()
    assert [truth.boxes for truth in truths] == [((0, 0, 0, 30, 20),)] * 2


def write(data: Path, root: Path) -> Path:
    """Write the head boxes of a pet data set in YOLO's layout, as Roboflow does."""
    for number, entry in enumerate(pets.detection(data).entries):
        folder = root / ("valid" if number % 5 == 0 else "train")
        width, height = entry.target.size
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(entry.path, folder / "images")
        lines = [
            f"{['dog', 'cat'].index(labelled_box.name)} "
            f"{(left + right) / 2 / width:.6f} {(top + bottom) / 2 / height:.6f} "
            f"{(right - left) / width:.6f} {(bottom - top) / height:.6f}\n"
            for labelled_box in entry.target.objects
            for left, top, right, bottom in [labelled_box.box]
        ]
        (folder / "labels" / f"{entry.path.stem}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\n\nnc: 2\nnames: ['dog', 'cat']\n")
    return root


def compare(data: Path, tmp_path: Path) -> int:
    """Assert that the photos of a data set have the same boxes as pets and in YOLO's layout. Return their number."""
    as_pets = prepare("object-detection", data, tmp_path / "1")
    as_yolo = prepare("object-detection", write(data, tmp_path / "yolo"), tmp_path / "2")
    assert as_yolo.truths.keys() == as_pets.truths.keys()
    for photo, expected in as_pets.truths.items():
        actual = as_yolo.truths[photo]
        assert actual.size == expected.size
        assert [1 - label for label, *_ in actual.boxes] == [label for label, *_ in expected.boxes]
        assert np.abs(np.subtract(actual.boxes, expected.boxes))[:, 1:].max(initial=0) <= 1
    return len(as_yolo.truths)


def test_the_drawn_pets_keep_their_boxes_in_yolo(drawn: Path, tmp_path: Path) -> None:
    assert compare(drawn, tmp_path) == 36


def test_the_real_pets_keep_their_boxes_in_yolo(pets: Path, tmp_path: Path) -> None:
    assert compare(few_pets.copy(pets, tmp_path / "pets", step=24, rotated=6), tmp_path) > 10


def test_prepare_reports_the_layout_and_the_hyperparameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [f"images/{number}.jpg" for number in range(10)]
    data = lay_out(
        tmp_path / "in", *photos, **{f"labels/{number}.txt": LINE for number in range(10)}, **{"data.yaml": NAMES}
    )
    for photo in photos:
        (data / photo).write_bytes(encode(quarters(60, 40)))
    arguments = ["prepare", "object-detection", "--data", str(data), "--out", str(tmp_path / "out")]
    assert program.main(arguments) == 0
    printed = capsys.readouterr().out
    assert f"{data} is read as yolo: labels/0.txt has lines of a class number and fractions\n" in printed
    assert "classes without a training photo with a box: 1 (cat)" in printed
    assert "Set num_classes=2 num_training_samples=8" in printed
