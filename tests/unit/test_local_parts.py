"""The parts of a data set, recognised by the names of its files and folders."""

from pathlib import Path, PurePath

import pytest

from local.datasets.files.parts import of_path, split_files
from train.data.parts import TEST, part_of


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"),
        ("Training_set", "train"),
        ("labels-train2017", "train"),
        ("trainLabels", "train"),
        ("val", "validation"),
        ("VALID", "validation"),
        ("dev", "validation"),
        ("my_validation", "validation"),
        ("test", TEST),
        ("testing", TEST),
        ("trainval", ""),
        ("train_val", ""),
        ("evaluate", ""),
        ("strain", ""),
    ],
)
def test_a_part_is_recognised_by_a_word_in_the_name(name: str, part: str) -> None:
    assert part_of(name) == part


def test_files_belong_to_the_part_in_their_name_or_folder_and_others_are_left_out(tmp_path: Path) -> None:
    def split(*names: str) -> tuple[dict[str, str], dict[str, list[str]]]:
        notes: dict[str, list[str]] = {}
        used = split_files([tmp_path / name for name in names], tmp_path, "tables", notes)
        return {path.relative_to(tmp_path).as_posix(): part for path, part in used}, notes

    assert split("labels.csv") == ({"labels.csv": ""}, {})
    assert split("labels.csv", "val.csv") == ({"labels.csv": "train", "val.csv": "validation"}, {})
    assert split("train/a.csv", "valid/a.csv", "all.csv", "sample_submission.csv") == (
        {"train/a.csv": "train", "valid/a.csv": "validation"},
        {
            "tables without a part next to a training list, left out": ["all.csv"],
            "tables of a test part, left out": ["sample_submission.csv"],
        },
    )


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
def test_the_deepest_name_with_a_part_decides(path: str, part: str) -> None:
    assert of_path(PurePath(path)) == part
