"""Lists in `prepare`: .lst files of im2rec and of SageMaker's built-in algorithms, and common variants."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.datasets import layouts
from local.datasets.dataset import CLASSIFICATION, DETECTION, FRACTIONS, UNUSABLE, Annotation, Edges, LabelledBox
from local.datasets.layouts.lists import lines as lst_labels
from local.datasets.layouts.lists import reader as lists
from local.datasets.layouts.pets import reader as official
from local.datasets.notes import MISSING, RENUMBERED, TEST_PHOTOS, UNLISTED, UNUSED_CLASSES
from local.errors import UserError
from tests.unit.layouts import Prepared, prepare, write_files
from tests.unit.official import HEAD, as_stored, exif_rotated, picture

PHOTOS = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/3 ü.jpg")
KINDS = ("cat", "dog")


def lay_out(root: Path, files: Mapping[str, str | bytes], photos: tuple[str, ...] = PHOTOS) -> Path:
    """Write text files by name, and empty photos. The layout does not open the photos."""
    return write_files(root, {**files, **dict.fromkeys(photos, b"")})


def labels(root: Path) -> dict[str, str]:
    """Return the labels of each photo, joined by +, by its path. The lists must be recognised."""
    layout = layouts.detect(root)
    assert layout.name == "lists"
    entries = layout.read(CLASSIFICATION).entries
    return {entry.path.relative_to(root).as_posix(): "+".join(entry.target) for entry in entries}


@pytest.mark.parametrize(
    "content",
    [
        "0\t0.000000\tcat/1.jpg\n1\t0.000000\tcat/2.jpg\n2\t1.000000\tdog/1.jpg\n3\t1.000000\tdog/3 ü.jpg\n",
        "7\t0\tcat\\1.jpg\r\n5\t0\tcat\\2.jpg\r\n6\t1\tdog\\1.jpg\r\n2\t1\tdog\\3 ü.jpg\r\n",
        "\ufeffindex\tlabel\tpath\n7\t0\tcat/1.jpg\n5\t0\tcat/2.jpg\n6\t1\tdog/1.jpg\n2\t1\tdog/3 ü.jpg",
        "\t0\t1\t2\n0\t7\t0\tcat/1.jpg\n1\t5\t0\tcat/2.jpg\n2\t6\t1\tdog/1.jpg\n3\t2\t1\tdog/3 ü.jpg",
        "0\tcat/1.jpg\n0\tcat/2.jpg\n1\tdog/1.jpg\n1\tdog/3 ü.jpg",
        "0 0 cat/1.jpg\n1 0 cat/2.jpg\n2  1 dog/1.jpg\n3 1 dog/3 ü.jpg",
        "0,0,cat/1.jpg\n1, 0, cat/2.jpg\n2,1,dog/1.jpg\n3,1,dog/3 ü.jpg",
        "8\t0\t/x/cat/1.jpg\t\n\n9\t0\t/x/cat/2.jpg\n8\t1\t/x/dog/1.jpg\n9\t1\t/x/dog/3 ü.jpg",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_one_class_per_photo_is_read_with_any_index_header_and_separator(
    content: str, encoding: str, tmp_path: Path
) -> None:
    lay_out(tmp_path, {"train.lst": content.encode(encoding), "classes.txt": "Katze\n Hund,  klein \n"})
    assert labels(tmp_path) == dict(zip(PHOTOS, ["Katze", "Katze", "Hund, klein", "Hund, klein"], strict=True))


@pytest.mark.parametrize(
    "content",
    [
        "0\t1\t0\t1\tcat/1.jpg\n1\t0\t0\t0\tcat/2.jpg\n2\t1\t0\t0\tdog/1.jpg\n",
        "5\t1.0\t0.0\t1.0\tcat/1.jpg\n4\t0.0\t0.0\t0.0\tcat/2.jpg\n3\t1.0\t0.0\t0.0\tdog/1.jpg\n",
        "\ta\tb\tc\tpath\n0\t1\t0\t1\tcat/1.jpg\n1\t0\t0\t0\tcat/2.jpg\n2\t1\t0\t0\tdog/1.jpg\n",
        "\tindex\ta\tb\tc\tpath\n0\t9\t1\t0\t1\tcat/1.jpg\n1\t7\t0\t0\t0\tcat/2.jpg\n2\t8\t1\t0\t0\tdog/1.jpg\n",
        "1\t0\t1\tcat/1.jpg\n0\t0\t0\tcat/2.jpg\n1\t0\t0\tdog/1.jpg\n",
    ],
)
def test_zeros_and_ones_for_each_class_are_multi_label(content: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"train.lst": content, "classes.txt": "a\nb\nc\n"})
    assert labels(tmp_path) == {"cat/1.jpg": "a+c", "cat/2.jpg": "", "dog/1.jpg": "a"}
    data = lists.classification(tmp_path)
    assert (data.multi_label, data.class_names, data.notes[UNUSED_CLASSES]) == (True, ("a", "c"), ["b"])


def rows(*class_ids: int) -> str:
    return "".join(
        f"{index}\t{class_id}\t{path}\n" for index, (class_id, path) in enumerate(zip(class_ids, PHOTOS, strict=True))
    )


@pytest.mark.parametrize(
    ("class_ids", "classes", "names", "renumbered"),
    [
        ((0, 0, 1, 1), None, ("cat", "dog"), []),
        ((1, 1, 2, 2), None, ("cat", "dog"), ["1 is now 0", "2 is now 1"]),
        ((1, 1, 0, 0), None, ("dog", "cat"), []),
        ((0, 1, 1, 1), None, ("0", "1"), []),
        ((2, 10, 10, 10), None, ("2", "10"), ["2 is now 0", "10 is now 1"]),
        ((0, 0, 1, 1), "a\nb\n", ("a", "b"), []),
        ((1, 1, 2, 2), "a\nb\n", ("a", "b"), ["1 is now 0", "2 is now 1"]),
        ((1, 1, 2, 2), "a\nb\nc\n", ("b", "c"), ["1 is now 0", "2 is now 1"]),
    ],
)
def test_classes_are_named_by_classes_txt_or_by_matching_folders_or_by_their_numbers(
    class_ids: tuple[int, ...], classes: str | None, names: tuple[str, ...], renumbered: list[str], tmp_path: Path
) -> None:
    data = lists.classification(
        lay_out(tmp_path, {"a.lst": rows(*class_ids)} | ({"classes.txt": classes} if classes else {}))
    )
    assert (data.class_names, data.notes[RENUMBERED]) == (names, renumbered)


def test_lists_of_two_parts_are_the_split_and_a_test_part_is_left_out(tmp_path: Path) -> None:
    files = {
        "train_lst/train.lst": "0\t0\tcat/1.jpg\n1\t1\tdog/1.jpg\n",
        "validation_lst/validation.lst": "0\t1\tcat/1.jpg\n",
        "my_test.lst": "0\t1\tcat/1.jpg\n",
        "validation_lst/classes.txt": "a\nb\n",
    }
    lay_out(
        tmp_path, files, tuple(f"{part}/{kind}/1.jpg" for part in ("train", "validation") for kind in ("cat", "dog"))
    )
    assert labels(tmp_path) == {"train/cat/1.jpg": "a", "train/dog/1.jpg": "b", "validation/cat/1.jpg": "b"}
    data = lists.classification(tmp_path)
    assert [entry.part for entry in data.entries] == ["train", "train", "validation"]
    assert data.notes["lists of a test part, left out"] == ["my_test.lst"]


def test_boxes_are_fractions_of_the_stored_photo_and_a_photo_may_have_none(tmp_path: Path) -> None:
    content = (
        "0\t2\t5\t1\t0.1\t0.2\t0.5\t1\tcat\\1.jpg\r\n"
        "1\t2\t6\t0\t0\t0\t1\t1\t0\t1\t0.1\t0.2\t0.5\t1\t1\tcat\\2.jpg\r\n"
        "2\t2\t5\tdog\\1.jpg\r\n"
        "3\t4\t5\t640\t480\t0\t0\t0\t1\t1.01\t-1\t-1\t-1\t-1\t-1\tdog\\3 ü.jpg\r\n"
    )
    lay_out(tmp_path, {"train.lst": content, "classes.txt": "cat\ndog\n"})
    part_of_photo, whole_photo = LabelledBox("dog", (0.1, 0.2, 0.5, 1)), LabelledBox("cat", (0, 0, 1, 1))
    beyond_edge = LabelledBox("cat", (0, 0, 1, 1.01))
    data = layouts.detect(tmp_path).read(DETECTION)
    assert [entry.target for entry in data.entries] == [
        Annotation("train.lst, line 1", (part_of_photo,), FRACTIONS),
        Annotation("train.lst, line 2", (whole_photo, part_of_photo), FRACTIONS),
        Annotation("train.lst, line 3", (), FRACTIONS),
        Annotation("train.lst, line 4", (beyond_edge,), FRACTIONS),
    ]
    assert [entry.group for entry in data.entries] == ["dog", "cat", "", "cat"]


@pytest.mark.parametrize("before", ["", "0\t", "0\t17\t", "0 "])
def test_packed_boxes_are_read_without_an_index_or_with_the_index_of_pandas(before: str, tmp_path: Path) -> None:
    content = f"{before}2\t5\t0\t0.1\t0.2\t0.5\t1\tcat/1.jpg\n"
    lay_out(tmp_path, {"train.lst": content if before != "0 " else content.replace("\t", " ")})
    assert lists.detection(tmp_path).entries[0].target.objects == (LabelledBox("0", (0.1, 0.2, 0.5, 1)),)


def test_boxes_in_pixels_are_read_if_the_header_has_the_size_of_the_photo(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train.lst": "0\t4\t5\t640\t480\t3\t10\t20\t640\t480\tcat/1.jpg\n"})
    (entry,) = lists.detection(tmp_path).entries
    assert entry.target == Annotation("train.lst, line 1", (LabelledBox("3", (10, 20, 640, 480)),), (640, 480))


def test_a_line_in_another_format_than_most_is_left_out_and_listed(tmp_path: Path) -> None:
    boxes = "0\t2\t5\t0\t0\t0\t1\t1\tcat/1.jpg\n1\t2\t5\t0\t0\t0\t1\t1\tcat/2.jpg\n"
    lay_out(
        tmp_path / "1", {"a.lst": boxes + "2\t2\t5\t0\t0\t0\t1\tdog/1.jpg\n2\t2\t5\t0\t0\t0\t99\t99\tdog/3 ü.jpg\n"}
    )
    assert lists.detection(tmp_path / "1").notes[UNUSABLE] == [
        "a.lst, line 3 does not have a whole number of objects after its header",
        "a.lst, line 4 has a box in pixels, but most lines have fractions of the photo",
    ]
    lay_out(tmp_path / "2", {"a.lst": "0\t0\tcat/1.jpg\n1\t0\tcat/2.jpg\n2\t1\t1\tdog/1.jpg\n3\t1\tno.jpg\n"})
    notes = lists.classification(tmp_path / "2").notes
    assert notes[UNUSABLE] == ["a.lst, line 3 has 3 numbers, but most lines have 2"]
    assert notes[MISSING] == ["no.jpg"]


def test_photos_in_no_list_are_left_out_and_listed(tmp_path: Path) -> None:
    files = {"a.lst": "0\t0\tcat/1.jpg\n1\t1\tdog/1.jpg\n", "b.val.lst": "0\t1\tcat/2.jpg\n"}
    notes = lists.classification(lay_out(tmp_path, files, (*PHOTOS, "new/7.jpg", "test/8.jpg"))).notes
    assert notes[UNLISTED] == ["dog/3 ü.jpg", "new/7.jpg"]
    assert notes[TEST_PHOTOS] == ["test/8.jpg"]


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        (DETECTION, "0\t2\t5\t0\t10\t20\t64\t48\tcat/1.jpg\n", r"line 1 has the box 10 20 64 48, in pixels: divide it"),
        (DETECTION, "0\t1\tcat/1.jpg\n", r"train\.lst has no boxes \(train\.lst, line 1 has the numbers 0 1\)"),
        (CLASSIFICATION, "0\t2\t5\t0\t0\t0\t1\t1\tcat/1.jpg\n", r"train\.lst has boxes .*: use object-detection"),
        (DETECTION, "0\t2\t5\t0.5\t0\t0\t1\t1\tcat/1.jpg\n", r"line 1 has the class 0\.5: classes are whole numbers"),
        (CLASSIFICATION, "0\t-1\tcat/1.jpg\n", r"line 1 has the class -1: classes are whole"),
        (
            CLASSIFICATION,
            "0\tcat/1.jpg\n1\tcat/2.jpg\n2\tdog/1.jpg\n",
            r"line 1 and all others have only one number, .* index",
        ),
        (CLASSIFICATION, "0\t3\t2\t4\tcat/1.jpg\n0\t3\t2\t4\tcat/2.jpg\n", r"line 1 has 3 labels, 3 2 4: give one"),
        (CLASSIFICATION, "0\t0\tcat/1.jpg\n1\tx\tcat/2.jpg\n", r"line 2 is '1\\tx\\tcat/2\.jpg': expected index<TAB>"),
        (CLASSIFICATION, "a\tb\tc\nd\te\tcat/1.jpg\n", r"train\.lst, line 2 is 'd\\te\\tcat/1\.jpg': expected"),
        (CLASSIFICATION, "0\tnan\tcat/1.jpg\n1\tinf\tcat/2.jpg\n", r"train\.lst, line 1 is .*expected index"),
        (CLASSIFICATION, "0\t0\tcat/1.jpg\n1\t0\tcat/2\udcff.jpg\n", r"train\.lst, line 2 is not UTF-8"),
        (
            CLASSIFICATION,
            "0\t0\tcat/1.jpg\n1\t1\tcat/1.jpg\n",
            r"line 2 lists 1\.jpg again, differently from train\.lst, l",
        ),
        (CLASSIFICATION, "0\t0\ta.jpg\n1\t1\tb.jpg\n", r"train\.lst, line 1 names 'a\.jpg', which is not below"),
        (CLASSIFICATION, "", r"has no \.lst file of training photos, because train\.lst has no lines: put one"),
    ],
)
def test_invalid_lists_are_rejected_with_the_line_and_the_fix(
    task: str, content: str, message: str, tmp_path: Path
) -> None:
    lay_out(tmp_path, {"train.lst": content.encode(errors="surrogateescape")})
    with pytest.raises(UserError, match=message):
        layouts.detect(tmp_path, "lists").read(task)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("a\n", r"classes\.txt names 1 class and the lists have class id 1: name all classes, one per line"),
        ("a\n\nb\n", r"classes\.txt, line 2: the name is empty"),
        ("a\na \n", r"classes\.txt has 'a' twice"),
    ],
)
def test_class_names_that_do_not_match_the_lists_are_rejected(classes: str, message: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"a.lst": rows(0, 0, 1, 1), "classes.txt": classes})
    with pytest.raises(UserError, match=message):
        lists.classification(tmp_path)


@pytest.mark.parametrize(
    "files",
    [{"a.lst": "milk\nbread\n"}, {"a.lst": b"\xff\xfe\x00"}, {"a.lst": "1 2 3\n"}, {".a.lst": rows(0, 0, 1, 1)}],
)
def test_other_lst_files_are_not_taken_for_lists_of_photos(files: dict[str, str | bytes], tmp_path: Path) -> None:
    assert lists.recognise(lay_out(tmp_path, files)) is None


def test_a_list_with_a_mistake_is_recognised_and_the_mistake_is_reported(tmp_path: Path) -> None:
    lay_out(tmp_path, {"a.lst": "0\t0\tcat/1.jpg\noops\n"})
    assert lists.recognise(tmp_path) == "a.lst lists photos"
    with pytest.raises(UserError, match=r"a\.lst, line 2 is 'oops'"):
        lists.classification(tmp_path)


@given(st.text(st.sampled_from("0125.-e\t \n,;cat/1.jpg\0ü")) | st.text(), st.sampled_from([CLASSIFICATION, DETECTION]))
def test_any_text_is_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, text: str, task: str) -> None:
    root = lay_out(tmp_path_factory.getbasetemp() / "any-list", {"a.lst": text.encode(errors="surrogatepass")})
    try:
        data = layouts.detect(root, "lists").read(task)
    except UserError:
        return
    assert all(data.class_names)
    assert len(set(data.class_names)) == len(data.class_names)


FRACTION = st.floats(0, 1, width=32)
OBJECTS = st.lists(st.tuples(st.integers(0, 90), st.tuples(FRACTION, FRACTION, FRACTION, FRACTION)), max_size=4)


@given(st.lists(OBJECTS, min_size=1, max_size=4), st.booleans())
def test_written_packed_boxes_are_read_back(photos: list[list[tuple[int, Edges]]], pandas: bool) -> None:
    text = "".join(
        "\t".join(
            map(
                str, [*range(index, index + 1 + pandas), 2, 5, *(n for k, box in objects for n in (k, *box)), "a.jpg\n"]
            )
        )
        for index, objects in enumerate(photos)
    )
    read_lines = lst_labels.packed_boxes(lst_labels.parse(text, "a.lst"), "a.lst", {})
    assert [list(line.target.objects) for line in read_lines] == photos


def write(pets: Path, root: Path, name: str) -> Path:
    """Write the pet data set as lists made on Windows, with a header: one per part, or one of all head boxes."""
    (root / "Fotos groß").mkdir(parents=True)
    parts: dict[str, list[str]] = {}
    data = official.detection(pets) if name == "object-detection" else official.classification(pets)
    for index, entry in enumerate(data.entries):
        os.link(entry.path, root / "Fotos groß" / f"ein {entry.path.name}")
        label = [data.class_names.index(entry.target[0])] if isinstance(entry.target, tuple) else [2, 5]
        if isinstance(entry.target, Annotation):
            for labelled_box in entry.target.objects:
                box = np.divide(labelled_box.box, entry.target.size * 2)
                label += [data.class_names.index(labelled_box.name), *box.round(6)]
        if entry.part or name == "object-detection":
            line = [index, *label, f"C:\\Fotos groß\\ein {entry.path.name}"]
            parts.setdefault(entry.part or "all", ["\tlabel\tpath"]).append("\t".join(map(str, line)))
    for part, lines in parts.items():
        (root / f"{part}.lst").write_text("\r\n".join(lines), encoding="utf-16")
    (root / "classes.txt").write_text("".join(f"{label}\n" for label in data.class_names))
    return root


def check_same(name: str, pets: Path, tmp_path: Path) -> Prepared:
    """Assert that both layouts give the same channels and classes, or the same boxes in another split."""
    as_pets = prepare(name, pets, tmp_path / "one")
    as_lists = prepare(name, write(pets, tmp_path / "data", name), tmp_path / "two")
    if name != "object-detection":
        assert as_lists == as_pets
    assert as_lists.truths.keys() == as_pets.truths.keys()
    for photo, truth in as_lists.truths.items():
        if name == "object-detection":
            assert truth.size == as_pets.truths[photo].size
            assert np.abs(np.subtract(truth.boxes, as_pets.truths[photo].boxes)).max() <= 1
    return as_lists


@pytest.mark.parametrize("name", ["image-classification", "object-detection"])
def test_the_drawn_pets_keep_their_labels_and_boxes_in_lists(name: str, drawn: Path, tmp_path: Path) -> None:
    assert len(check_same(name, drawn, tmp_path).truths) == (48 if name == "image-classification" else 36)


def test_the_real_pets_keep_their_boxes_in_a_list(pets: Path, tmp_path: Path) -> None:
    assert len(check_same("object-detection", pets, tmp_path).truths) > 250


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [False, True])
def test_boxes_are_rotated_with_their_photo(orientation: int, pixels: bool, tmp_path: Path) -> None:
    stored = as_stored(picture(), orientation)
    red = np.asarray(stored)[..., 0] > 128
    (top, *_, bottom), (left, *_, right) = (np.flatnonzero(red.any(axis)) for axis in (1, 0))
    box = np.array([left, top, right + 1, bottom + 1])
    head = [4, 5, *stored.size, 0, *box] if pixels else [2, 5, 0, *box / (stored.size * 2)]
    lines = ["\t".join(map(str, [number, *head, f"{number}.jpg"])) for number in range(2)]
    data = lay_out(tmp_path / "data", {"a.lst": "\n".join(lines)}, ())
    for number in range(2):
        photo = picture()
        photo.putpixel((60, 40), (0, 255 * number, 0))  # so that the photos differ
        (data / f"{number}.jpg").write_bytes(exif_rotated(photo, orientation))
    truths = prepare("object-detection", data, tmp_path / "out").truths.values()
    assert [truth.boxes for truth in truths] == [((0, *HEAD),)] * 2
