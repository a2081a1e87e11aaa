"""Files and folders are replaced as a whole or not at all."""

from pathlib import Path

import pytest

from local.files import replacing


def test_a_new_folder_replaces_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with replacing(tmp_path / "out") as building:
        building.mkdir()
        (building / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["out", "out/new"]


def test_the_old_folder_is_kept_if_writing_the_new_one_fails(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()

    def fail() -> None:
        with replacing(tmp_path / "out") as building:
            building.mkdir()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["out", "out/old"]


def test_a_file_never_replaces_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    (tmp_path / "x.png" / "precious").touch()
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "x.png") as building:
        building.write_text("picture")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["x.png", "x.png/precious"]
