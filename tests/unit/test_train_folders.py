"""Class folders: the photos of each class and part, and errors with channel, folder and fix."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.classification import folders
from train.data.channels import Channel
from train.errors import UserError

DEFAULTS: dict[str, Any] = {"num_classes": None, "validation_split": 0.2, "seed": 0}


def lay_out(root: Path, *names: str) -> dict[str, Channel]:
    """Create empty files below `root`, and return its folders as channels."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return {path.name: Channel(path.name, path, "") for path in sorted(root.iterdir())}


def names_and_labels(listed: folders.FolderSamples) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return the names and labels of both parts."""
    train, validation = ([(sample.name, sample.label) for sample in part] for part in (listed.train, listed.validation))
    return train, validation


def rejection(channels: dict[str, Channel], **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        folders.list_samples(channels, **DEFAULTS | changes)
    return str(caught.value)


def test_one_channel_may_hold_both_parts_as_in_the_seed_project(tmp_path: Path) -> None:
    channels = lay_out(
        tmp_path,
        "training/train/dog/2.jpg",
        "training/train/cat/1.jpg",
        "training/train/cat/deep/er/0.PNG",
        "training/validation/dog/9.jpeg",
    )
    listed = folders.list_samples(channels, **DEFAULTS)
    assert listed.class_names == ("cat", "dog")
    assert names_and_labels(listed) == (
        [("training/train/cat/1.jpg", 0), ("training/train/cat/deep/er/0.PNG", 0), ("training/train/dog/2.jpg", 1)],
        [("training/validation/dog/9.jpeg", 1)],
    )
    assert listed.validation[0].path == tmp_path / "training/validation/dog/9.jpeg"


@pytest.mark.parametrize("name", ["train", "training"])
def test_two_channels_of_class_folders_are_the_two_parts(name: str, tmp_path: Path) -> None:
    channels = lay_out(tmp_path, f"{name}/cat/1.jpg", f"{name}/dog/2.jpg", "validation/cat/3.jpg")
    assert names_and_labels(folders.list_samples(channels, **DEFAULTS)) == (
        [(f"{name}/cat/1.jpg", 0), (f"{name}/dog/2.jpg", 1)],
        [("validation/cat/3.jpg", 0)],
    )


@pytest.mark.parametrize("part", ["validation", "val", "valid"])
def test_a_validation_folder_may_have_any_of_its_usual_names(part: str, tmp_path: Path) -> None:
    channels = lay_out(tmp_path, "train/train/a/1.jpg", "train/train/b/2.jpg", f"train/{part}/b/3.jpg")
    assert names_and_labels(folders.list_samples(channels, **DEFAULTS))[1] == [(f"train/{part}/b/3.jpg", 1)]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    names = [f"training/{kind}/{number}.jpg" for kind in ("bus", "train") for number in range(5)]
    listed = folders.list_samples(lay_out(tmp_path, *names), **DEFAULTS)
    assert listed.class_names == ("bus", "train")
    assert len(listed.validation) == 2


def test_without_a_validation_part_the_same_seed_takes_the_same_photos_from_every_class(tmp_path: Path) -> None:
    names = [f"training/{kind}/{number}.jpg" for kind in ("cat", "dog") for number in range(20)]
    channels = lay_out(tmp_path, *names)
    first, again = (names_and_labels(folders.list_samples(channels, **DEFAULTS)) for _ in range(2))
    other = names_and_labels(folders.list_samples(channels, **DEFAULTS | {"seed": 1}))
    assert first == again != other
    assert [[label for _, label in part].count(0) for part in first] == [16, 4]
    assert {name for part in first for name, _ in part} == set(names)


@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=4), share=st.floats(0.01, 0.99))
def test_a_split_leaves_training_photos_in_every_class_and_loses_no_photo(counts: list[int], share: float) -> None:
    samples = [
        folders.Sample(f"{label}/{n}", label, Path()) for label, count in enumerate(counts) for n in range(count)
    ]
    train, validation = folders._split(samples, share, 0)
    assert {sample.label for sample in train} == set(range(len(counts)))
    assert {sample.label for sample in validation} == {label for label, count in enumerate(counts) if count > 1}
    assert sorted(train + validation, key=lambda sample: sample.name) == sorted(samples, key=lambda sample: sample.name)


def test_hidden_files_and_files_without_an_image_suffix_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders.LOG, "propagate", True)
    channels = lay_out(
        tmp_path,
        "training/cat/1.jpg",
        "training/cat/._1.jpg",
        "training/cat/a.mat",
        "training/.ipynb_checkpoints/2.jpg",
        "training/dog/2.jpg",
        "training/readme.txt",
        "training/dog/3.jpg",
        "training/cat/4.jpg",
    )
    listed = folders.list_samples(channels, **DEFAULTS)
    assert listed.class_names == ("cat", "dog")
    assert len(listed.train + listed.validation) == 4
    assert "files outside the class folders, left out: 1 (training/readme.txt)" in caplog.text
    assert "files in class folders without the suffix of an image, left out: 1 (training/cat/a.mat)" in caplog.text


def test_photos_in_unsupported_formats_are_listed_so_that_they_are_reported_as_unreadable(tmp_path: Path) -> None:
    cats = [
        f"training/train/cat/{number}.{suffix}" for number, suffix in enumerate(("HEIC", "avif", "dng", "heif", "jxl"))
    ]
    channels = lay_out(
        tmp_path, *cats, "training/train/dog/1.jfif", "training/val/dog/2.jpe", "training/val/cat/3.Heic"
    )
    assert names_and_labels(folders.list_samples(channels, **DEFAULTS)) == (
        [*((name, 0) for name in cats), ("training/train/dog/1.jfif", 1)],
        [("training/val/cat/3.Heic", 0), ("training/val/dog/2.jpe", 1)],
    )


def test_a_photo_that_also_exists_in_a_readable_format_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders.LOG, "propagate", True)
    names = ["train/cat/1.jpg", "train/cat/1.HEIC", "train/cat/1.mov", "train/dog/1.heic", "validation/dog/2.jpg"]
    listed = folders.list_samples(lay_out(tmp_path, *names), **DEFAULTS)
    assert names_and_labels(listed)[0] == [("train/cat/1.jpg", 0), ("train/dog/1.heic", 1)]
    assert "photos that also exist in a readable format, left out: 1 (train/cat/1.HEIC)" in caplog.text
    assert "files in class folders without the suffix of an image, left out: 1 (train/cat/1.mov)" in caplog.text


BOTH = ("training/cat/1.jpg", "training/dog/2.jpg")


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (("photos/cat/1.jpg",), {}, "channel 'training' is missing (given: photos): it must hold photos in class"),
        ((*BOTH, "train/cat/1.jpg"), {}, "channels 'training' and 'train' are both given: put all training photos"),
        (
            ("training/train/cat/1.jpg", "training/train/dog/1.jpg", "training/val/cat/1.jpg", "validation/cat/1.jpg"),
            {},
            "channel 'training' holds a folder val/ but there is also a channel 'validation': remove one",
        ),
        (("training/1.jpg",), {}, "channel 'training' has no class folders; it holds 1.jpg: it needs photos in class"),
        (
            ("training/cat/1.jpg",),
            {},
            "channel 'training' has only one class folder, cat/: a classifier needs at least two",
        ),
        (BOTH, {"num_classes": 3}, "hyperparameter num_classes=3 but channel 'training' has 2 class folders"),
        (("training/cat/a.txt", "training/dog/b.txt"), {}, "channel 'training' has no photos in its class folders"),
        (BOTH, {}, "channel 'training' has at most one photo per class: at least two"),
        (
            (*BOTH, "validation/Cat/1.jpg"),
            {},
            "channel 'validation' has the class folder Cat/, which channel 'training' does not have: did you mean cat?",
        ),
        ((*BOTH, "validation/horse/1.jpg"), {}, "channel 'validation' has the class folder horse/, which"),
        ((*BOTH, "validation/1.jpg"), {}, "channel 'validation' has no class folders; it holds 1.jpg"),
    ],
)
def test_any_other_layout_is_rejected_with_the_channel_and_what_it_needs(
    names: tuple[str, ...], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert rejection(lay_out(tmp_path, *names), **changes).startswith(message)
