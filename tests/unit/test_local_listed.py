"""Photos found by the end of a path that was written on another machine, and parts by the names of files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.datasets.files.listed import MISSING, SEVERAL, TWICE, Line, PhotoFiles, locate, once
from local.datasets.files.parts import TEST, files_by_part, part_of
from local.errors import UserError


def lay_out(root: Path, *names: str) -> PhotoFiles:
    """Empty files of these names below `root`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return PhotoFiles(root)


def found(photos: PhotoFiles, text: str, folder: str = "", part: str = "") -> str:
    """The photo of a path, from the folder that holds `photos`, or why there is none."""
    (photo,) = photos.find([text], photos.root / folder, [part])
    return photo.relative_to(photos.root).as_posix() if isinstance(photo, Path) else photo


@pytest.mark.parametrize(
    "path",
    [
        "cat/1 ü.jpg",
        "./cat/1 ü.jpg",
        "../images/cat/1 ü.jpg",
        "/home/ann/data/cat/1 ü.jpg",
        "C:\\data\\cat\\1 ü.jpg",
        "s3://bucket/data/cat/1 ü.jpg",
        "/data/local-files/?d=cat/1 ü.jpg",
        "CAT/1 Ü.JPG",
        "cat/1 u\u0308.jpg",  # as macOS writes it
        "cat/1 ü",
    ],
)
def test_a_path_of_any_machine_names_the_photo_that_it_ends_as(path: str, tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "cat/1 ü.jpg", "dog/1 ü.jpg", "cat/2.jpg")
    assert found(photos, path) == "cat/1 ü.jpg"


@pytest.mark.parametrize(
    "path", ["3.jpg", "", "/", "..", "cat", "cat/", "a.txt", ".hidden.jpg", "\0", "1.jpg/", "\ud800.jpg", "x" * 5000]
)
def test_what_ends_as_no_photo_is_missing(path: str, tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "data", "cat/2.jpg", "a.txt", ".hidden.jpg", ".git/3.jpg")
    lay_out(tmp_path, "3.jpg")
    assert found(photos, path) == MISSING


def test_two_photos_that_a_path_fits_as_well_are_neither(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "a/cat/1.jpg", "b/cat/1.jpg")
    assert found(photos, "cat/1.jpg") == SEVERAL
    assert found(photos, "c:/a/cat/1.jpg") == "a/cat/1.jpg"


def test_the_folder_of_the_list_and_its_part_decide_between_two_photos(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "train/1.jpg", "test/1.jpg")
    assert found(photos, "1.jpg", folder="test") == "test/1.jpg"
    assert found(photos, "1.jpg", part="train") == "train/1.jpg"
    assert found(photos, "1.jpg") == SEVERAL


def test_a_photo_is_of_the_path_that_has_more_in_common_with_it(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "cat/1.jpg", "2.jpg")
    assert photos.find(["dog/1.jpg", "cat/1.jpg"], tmp_path) == [MISSING, tmp_path / "cat/1.jpg"]
    assert photos.find(["a/2.jpg", "b/2.jpg"], tmp_path) == [SEVERAL, SEVERAL]


def test_links_to_folders_are_followed_and_one_in_a_circle_ends(tmp_path: Path) -> None:
    lay_out(tmp_path / "disk", "1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "up").symlink_to(tmp_path / "data")
    assert found(PhotoFiles(tmp_path / "data"), "1.jpg") == "images/1.jpg"


@given(st.text(), st.sampled_from(["", "train"]))
def test_any_text_is_a_path_to_a_photo_of_the_folder_or_to_none(
    tmp_path_factory: pytest.TempPathFactory, text: str, part: str
) -> None:
    photos = lay_out(tmp_path_factory.getbasetemp() / "any", "a/1.jpg", "a/b.png")
    assert found(photos, text, part=part) in ("a/1.jpg", "a/b.png", MISSING)


def test_a_list_most_of_whose_photos_are_elsewhere_is_refused_and_else_the_few_are_noted(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "1.jpg")
    lines = [Line(f"a.csv, line {number}", f"x/{number}.jpg", ()) for number in (1, 2, 3)]
    notes: dict[str, list[str]] = {}
    assert locate(photos, lines[:2], tmp_path / "a.csv", notes) == [(lines[0], tmp_path / "1.jpg")]
    assert notes == {MISSING: ["x/2.jpg"]}
    with pytest.raises(UserError, match=r"a\.csv, line 2 names 'x/2\.jpg', which is not below .*, as with 2 of the 3"):
        locate(photos, lines, tmp_path / "a.csv", notes)


def test_a_photo_that_is_listed_again_is_taken_once_and_refused_with_another_label_or_part(tmp_path: Path) -> None:
    photo, notes = tmp_path / "1.jpg", dict[str, list[str]]()
    first, same = Line("line 1", "1.jpg", "cat", "train"), Line("line 2", "x/1.jpg", "cat", "train")
    assert once([(first, photo), (same, photo)], notes, "fix") == [(first, photo)]
    assert notes == {TWICE: ["1.jpg"]}
    with pytest.raises(UserError, match=r"line 3 lists 1\.jpg again, and not as in line 1: fix"):
        once([(first, photo), (Line("line 3", "1.jpg", "dog", "train"), photo)], notes, "fix")
    with pytest.raises(UserError, match=r"line 4 lists 1\.jpg, which is in another part in line 1: remove it"):
        once([(first, photo), (Line("line 4", "1.jpg", "cat", "validation"), photo)], notes, "fix")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("train", "train"), ("Training_set", "train"), ("labels-train2017", "train"), ("trainLabels", "train")),
        *(("val", "validation"), ("VALID", "validation"), ("dev", "validation"), ("my_validation", "validation")),
        *(("test", TEST), ("testing", TEST), ("trainval", ""), ("train_val", ""), ("evaluate", ""), ("strain", "")),
    ],
)
def test_a_part_is_a_word_of_the_name(name: str, part: str) -> None:
    assert part_of(name) == part


def test_files_are_of_the_part_in_their_name_or_folder_and_others_are_left_out(tmp_path: Path) -> None:
    def of(*names: str) -> tuple[dict[str, str], dict[str, list[str]]]:
        notes: dict[str, list[str]] = {}
        used = files_by_part([tmp_path / name for name in names], tmp_path, "tables", notes)
        return {path.relative_to(tmp_path).as_posix(): part for path, part in used}, notes

    assert of("labels.csv") == ({"labels.csv": ""}, {})
    assert of("labels.csv", "val.csv") == ({"labels.csv": "train", "val.csv": "validation"}, {})
    assert of("train/a.csv", "valid/a.csv", "all.csv", "sample_submission.csv") == (
        {"train/a.csv": "train", "valid/a.csv": "validation"},
        {
            "tables of no part beside that to train on, left out": ["all.csv"],
            "tables of the test part, left out": ["sample_submission.csv"],
        },
    )
