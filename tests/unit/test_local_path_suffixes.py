"""Files that are found by the end of a path, which may come from another machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.datasets.files import path_suffixes
from local.datasets.files.path_suffixes import Files, Match
from local.datasets.files.walk import list_files
from local.datasets.notes import MISSING, SEVERAL


def lay_out(root: Path, *names: str) -> Files:
    """Create empty files with these names below `root`, and return the photos among them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return path_suffixes.photos(root)


def find(files: Files, text: str, folder: str = "", part: str = "") -> str:
    """Return the file that a path leads to, relative to the root of `files`, or the reason why there is none."""
    (match,) = files.find([text], files.root / folder, [part])
    return match.path.relative_to(files.root).as_posix() if match.path is not None else match.reason


@pytest.mark.parametrize(
    "path",
    [
        "cat/1 ü.jpg",
        "./cat/1 ü.jpg",
        "../images/cat/1 ü.jpg",
        "/home/ann/data/cat/1 ü.jpg",
        "C:\\data\\cat\\1 ü.jpg",
        "CAT\\1 Ü.JPG",
        "s3://bucket/data/cat/1 ü.jpg",
        "/data/local-files/?d=cat/1 ü.jpg",
        "CAT/1 Ü.JPG",
        "cat/1 u\u0308.jpg",  # decomposed, as on macOS
        "cat/1 ü",
    ],
)
def test_a_path_from_any_machine_finds_the_photo_that_it_ends_with(path: str, tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "cat/1 ü.jpg", "dog/1 ü.jpg", "cat/2.jpg")
    assert find(photos, path) == "cat/1 ü.jpg"


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("s3://bucket/set/a/1.jpg", "photos/a/1.jpg"),
        ("s3://bucket/elsewhere/2.jpg", "photos/b/2.jpg"),
        ("s3://bucket/Mu\u0308sli Riegel/\u00fc 1.jpg", "photos/Müsli Riegel/ü 1.jpg"),
        ("s3://bucket/0_2020-04-21T13:48:00.1.png", "masks/0_2020-04-21T13_48_00.1.png"),
        ("../../photos/./b/2.jpg", "photos/b/2.jpg"),
    ],
)
def test_the_longest_matching_end_of_a_path_decides(path: str, file: str, tmp_path: Path) -> None:
    names = ("photos/a/1.jpg", "photos/b/1.jpg", "photos/b/2.jpg", "photos/Müsli Riegel/ü 1.jpg")
    assert find(lay_out(tmp_path, *names, "masks/0_2020-04-21T13_48_00.1.png"), path) == file


@pytest.mark.parametrize(
    "path",
    [
        "3.jpg",
        "",
        "/",
        "..",
        "cat",
        "cat/",
        "a.txt",
        ".hidden.jpg",
        "\0",
        "1.jpg/",
        "\ud800.jpg",
        "x" * 5000,
        "s3://",
        "s3://bucket/..",
        "s3://bucket/.git/3.jpg",
        "s3://bucket/cat",
        "../3.jpg",
        "4.jpg",
    ],
)
def test_a_path_that_ends_with_no_photo_is_missing(path: str, tmp_path: Path) -> None:
    photos = lay_out(tmp_path / "data", "cat/2.jpg", "a.txt", ".hidden.jpg", ".git/3.jpg", "__MACOSX/4.jpg")
    lay_out(tmp_path, "3.jpg")
    assert find(photos, path) == MISSING


def test_a_path_that_matches_two_photos_equally_finds_neither(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "a/cat/1.jpg", "b/cat/1.jpg")
    message = "cat/1.jpg may be a/cat/1.jpg or b/cat/1.jpg"
    assert photos.find(["cat/1.jpg"], tmp_path) == [
        Match(None, SEVERAL, message, (tmp_path / "a/cat/1.jpg", tmp_path / "b/cat/1.jpg"))
    ]
    assert find(photos, "c:/a/cat/1.jpg") == "a/cat/1.jpg"


def test_the_folder_of_the_list_and_its_part_decide_between_two_photos(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "train/1.jpg", "test/1.jpg")
    assert find(photos, "1.jpg", folder="test") == "test/1.jpg"
    assert find(photos, "1.jpg", part="train") == "train/1.jpg"
    assert find(photos, "1.jpg") == SEVERAL


def test_the_photo_nearest_to_the_list_is_chosen(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "a/images/1.jpg", "b/images/1.jpg")
    assert find(photos, "1.jpg", folder="a") == "a/images/1.jpg"


def test_a_photo_belongs_to_the_path_that_matches_more_of_it(tmp_path: Path) -> None:
    photos = lay_out(tmp_path, "cat/1.jpg", "2.jpg")
    assert photos.find(["dog/1.jpg", "cat/1.jpg"], tmp_path) == [
        Match(None, MISSING, "dog/1.jpg"),
        Match(tmp_path / "cat/1.jpg"),
    ]
    several = Match(None, SEVERAL, "2.jpg may be a/2.jpg or b/2.jpg", (tmp_path / "2.jpg",))
    assert photos.find(["a/2.jpg", "b/2.jpg"], tmp_path) == [several] * 2


def test_symlinks_to_folders_are_followed_and_cycles_end(tmp_path: Path) -> None:
    lay_out(tmp_path / "disk", "1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "up").symlink_to(tmp_path / "data")
    assert find(path_suffixes.photos(tmp_path / "data"), "1.jpg") == "images/1.jpg"


@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["1.jpg", "b", "a/1"]), max_size=5), st.sampled_from(["", "train"])
)
def test_any_text_finds_a_file_in_the_folder_or_none(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], part: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "ends"
    if not root.exists():
        lay_out(root, "1.jpg", "a/1.jpg", "a/b.png", "0")
    names = list_files(root)
    assert names == ["0", "1.jpg", "a/1.jpg", "a/b.png"]
    for text, match in zip(texts, Files(root, names).find(texts, root, [part] * len(texts)), strict=True):
        if match.reason:
            assert match.reason in (MISSING, SEVERAL), text
        else:
            assert match.path in [root / name for name in names], text


def test_a_name_without_suffix_finds_the_photo_and_not_its_json_file(tmp_path: Path) -> None:
    lay_out(tmp_path, "1.jpg", "1.json", "2")
    files = Files(tmp_path, list_files(tmp_path))
    assert find(files, "s3://bucket/1") == "1.jpg"
    assert find(files, "s3://bucket/2") == "2"
