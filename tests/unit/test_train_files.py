"""Files of the model folder: they are written completely or not at all, and an error gives a useful reason."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from train import verify
from train.data.samples import Sample
from train.errors import TrainError, UserError
from train.files import replace


class Usage(NamedTuple):
    """The only field of shutil.disk_usage's result that the code reads."""

    free: int


def failing_writer(number: int, text: str) -> Callable[[Path], None]:
    """Return a writer that writes part of the file and fails."""

    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(number, text)

    return write


def test_a_file_is_written_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    replace(tmp_path / "a", lambda path: path.write_text("whole"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "whole"}


def test_if_a_file_cannot_be_written_the_earlier_one_stays_and_no_partial_file_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("earlier")
    with pytest.raises(TrainError, match=r"^.*/a could not be written: File too large \(\d+\.\d GB are free there\)$"):
        replace(tmp_path / "a", failing_writer(errno.EFBIG, "File too large"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "earlier"}


@pytest.mark.parametrize(
    ("number", "free"), [(errno.ENOSPC, 5_000_000_000), (errno.EDQUOT, 5_000_000_000), (errno.EIO, 4096)]
)
def test_a_full_disk_is_reported_first_even_if_the_framework_does_not_know_the_reason(
    number: int, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free))
    with pytest.raises(TrainError) as caught:
        replace(tmp_path / "a.params", failing_writer(number, "MXNet's words"))
    first, _, rest = str(caught.value).partition(": set a larger volume_size")
    assert first == f"{tmp_path}/a.params could not be written: the disk is full ({free} bytes free)"
    assert rest.endswith("(MXNet's words)")


def test_a_temporary_file_that_cannot_be_removed_does_not_hide_the_reason_of_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(TrainError, match="a could not be written: Read-only file system"):
        replace(tmp_path / "a", failing_writer(errno.EROFS, "Read-only file system"))


def test_a_photo_that_disappears_before_the_final_check_is_a_user_error_with_its_name(tmp_path: Path) -> None:
    gone = Sample("cats/7.jpg", 0, tmp_path / "7.jpg")
    with pytest.raises(UserError, match=r"^validation image cats/7\.jpg does not exist, although it was readable"):
        verify.lay_out([gone], tmp_path)
