"""Photos that are listed in files, line by line."""

from pathlib import Path

import pytest

from local.datasets.files import path_suffixes
from local.datasets.files.listed import Line, deduplicate, locate
from local.datasets.notes import MISSING, TWICE
from local.errors import UserError


def test_a_few_missing_photos_are_noted_and_a_majority_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    photos = path_suffixes.photos(tmp_path)
    lines = [Line(f"a.csv, line {number}", f"x/{number}.jpg", ()) for number in (1, 2, 3)]
    notes: dict[str, list[str]] = {}
    assert locate(photos, lines[:2], tmp_path / "a.csv", notes) == [(lines[0], tmp_path / "1.jpg")]
    assert notes == {MISSING: ["x/2.jpg"]}
    with pytest.raises(
        UserError, match=r"a\.csv, line 2 names 'x/2\.jpg', which is not below .*; this affects 2 of 3 "
    ):
        locate(photos, lines, tmp_path / "a.csv", notes)


def test_repeated_lines_count_once_and_contradictory_lines_are_rejected(tmp_path: Path) -> None:
    photo, notes = tmp_path / "1.jpg", dict[str, list[str]]()
    first, repeated = Line("line 1", "1.jpg", "cat", "train"), Line("line 2", "x/1.jpg", "cat", "train")
    assert deduplicate([(first, photo), (repeated, photo)], notes, "fix") == [(first, photo)]
    assert notes == {TWICE: ["1.jpg"]}
    with pytest.raises(UserError, match=r"line 3 lists 1\.jpg again, differently from line 1: fix"):
        deduplicate([(first, photo), (Line("line 3", "1.jpg", "dog", "train"), photo)], notes, "fix")
    with pytest.raises(UserError, match=r"line 4 lists 1\.jpg, which line 1 puts into another part: remove one"):
        deduplicate([(first, photo), (Line("line 4", "1.jpg", "cat", "validation"), photo)], notes, "fix")
