"""How a name in a data set's files leads to a photo, and a path to a part."""

from pathlib import Path, PurePath

import pytest

from local.datasets.files.lookup import Photos, part_of


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("annotations/instances_train2017.json", "train"),
        ("valid/_annotations.coco.json", "validation"),
        ("Training/x", "train"),
        ("obj_train_data", "train"),
        ("images/val", "validation"),
        ("test-dev/1", "test"),
        ("train/val.json", "validation"),
        ("train_val.json", ""),
        ("trainval.json", ""),
        ("trains/contest/valley/evaluation", ""),
        ("", ""),
    ],
)
def test_a_part_is_a_word_of_the_deepest_name_that_has_one(path: str, part: str) -> None:
    assert part_of(PurePath(path)) == part


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    for name in (
        "a/1.jpg",
        "b/1.jpg",
        "b/ä ö.PNG",
        "train/2.jpg",
        "val/2.jpg",
        "3.jpg",
        ".x/4.jpg",
        "5.txt",
        "c/6.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return Photos(tmp_path)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/1.jpg", "a/1.jpg"),
        ("B\\1.JPG", "b/1.jpg"),
        ("/home/me/set/b/1.jpg", "b/1.jpg"),
        ("1.jpg", None),
        ("../../3.jpg", "3.jpg"),
        ("other/a\u0308 o\u0308.png", "b/ä ö.PNG"),
        ("2.jpg", "val/2.jpg"),
        ("4.jpg", None),
        ("5.txt", None),
        ("", None),
        ("..", None),
        ("\0", None),
    ],
)
def test_a_photo_is_found_by_the_end_of_its_name_or_by_its_part(photos: Photos, name: str, found: str | None) -> None:
    (path,) = photos.match([name], photos.root, "validation")
    assert path == (photos.root / found if found else None)


def test_of_several_photos_the_nearest_to_the_naming_file_counts(photos: Photos) -> None:
    assert photos.match(["1.jpg"], photos.root / "a") == [photos.root / "a" / "1.jpg"]


def test_a_photo_goes_to_the_name_that_shares_more_with_it_and_to_none_of_two_alike(photos: Photos) -> None:
    assert photos.match(["d/6.jpg", "c/6.jpg"], photos.root) == [None, photos.root / "c" / "6.jpg"]
    assert photos.match(["d/6.jpg", "e/6.jpg"], photos.root) == [None, None]
