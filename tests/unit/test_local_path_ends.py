"""Files found by the ends of the paths that they have elsewhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.datasets.files import path_ends


def lay_out(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path, *names: str) -> dict[str, str]:
    return {name: path.relative_to(root).as_posix() for name, path in path_ends.find(root, names).files.items()}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("s3://bucket/set/a/1.jpg", "photos/a/1.jpg"),
        ("s3://bucket/b/1.jpg", "photos/b/1.jpg"),
        ("s3://bucket/elsewhere/2.jpg", "photos/b/2.jpg"),
        ("C:\\photos\\b\\1.jpg", "photos/b/1.jpg"),
        ("2.jpg", "photos/b/2.jpg"),
        ("s3://bucket/Mu\u0308sli Riegel/\u00fc 1.jpg", "photos/Müsli Riegel/ü 1.jpg"),
        ("s3://bucket/0_2020-04-21T13:48:00.1.png", "masks/0_2020-04-21T13_48_00.1.png"),
        ("../../photos/./b/2.jpg", "photos/b/2.jpg"),
    ],
)
def test_a_file_is_found_by_the_longest_end_of_a_path(name: str, path: str, tmp_path: Path) -> None:
    files = ("photos/a/1.jpg", "photos/b/1.jpg", "photos/b/2.jpg", "photos/Müsli Riegel/ü 1.jpg")
    lay_out(tmp_path, *files, "masks/0_2020-04-21T13_48_00.1.png")
    assert found(tmp_path, name) == {name: path}


def test_of_two_files_that_fit_as_well_none_is_taken(tmp_path: Path) -> None:
    here = path_ends.find(lay_out(tmp_path, "a/1.jpg", "b/1.jpg"), ["s3://bucket/c/1.jpg"])
    assert (here.files, here.missing) == ({}, [])
    assert here.doubtful == {"s3://bucket/c/1.jpg": "s3://bucket/c/1.jpg may be a/1.jpg or b/1.jpg"}


def test_a_file_is_of_the_one_name_that_fits_best(tmp_path: Path) -> None:
    here = path_ends.find(lay_out(tmp_path, "b/1.jpg"), ["s3://bucket/a/1.jpg", "s3://bucket/b/1.jpg"])
    assert here.files == {"s3://bucket/b/1.jpg": tmp_path / "b" / "1.jpg"}
    assert here.missing == ["s3://bucket/a/1.jpg"], "a/ was not downloaded"


def test_a_file_of_which_two_names_fit_as_well_is_neither(tmp_path: Path) -> None:
    here = path_ends.find(lay_out(tmp_path, "1.jpg"), ["s3://bucket/a/1.jpg", "s3://bucket/b/1.jpg"])
    assert (here.files, here.missing) == ({}, [])
    assert set(here.doubtful.values()) == {"1.jpg may be s3://bucket/a/1.jpg or s3://bucket/b/1.jpg"}


@pytest.mark.parametrize("name", ["", "/", "s3://", "s3://bucket/..", "s3://bucket/.hidden/1.jpg", "s3://bucket/a"])
def test_what_is_not_a_file_below_the_folder_is_missing(name: str, tmp_path: Path) -> None:
    lay_out(tmp_path / "root", ".hidden/1.jpg", "a/2.jpg")
    lay_out(tmp_path, "3.jpg")
    assert path_ends.find(tmp_path / "root", [name]).missing == [name]
    assert path_ends.find(tmp_path / "root", ["../3.jpg"]).missing == ["../3.jpg"]


@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_text_is_found_missing_or_doubtful(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = lay_out(tmp_path_factory.getbasetemp() / "any", "0", "a/0", "a/b")
    here = path_ends.find(root, names)
    assert sorted([*here.files, *here.missing, *here.doubtful]) == sorted(set(names))
    assert all(path.is_file() and root in path.parents for path in here.files.values())
