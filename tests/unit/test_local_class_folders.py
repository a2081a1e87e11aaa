"""Class folders in `prepare`: how they are recognised, split and named, and what is rejected."""

import io
import random
from pathlib import Path

import pytest
from PIL import Image

from local import __main__ as program
from local.commands import prepare
from local.datasets import layouts
from local.datasets.drawn import draw
from local.datasets.layouts import class_folders
from local.datasets.layouts.pets import reader as pets
from local.datasets.notes import TEST_PHOTOS
from local.errors import UserError

CLASSIFIERS = ("image-classification", "image-classification-tensorflow")


def jpeg(seed: int, side: int = 24) -> bytes:
    """Return a JPEG of noise. Different seeds give different photos."""
    pixels = random.Random(seed).randbytes(side * side * 3)
    data = io.BytesIO()
    Image.frombytes("RGB", (side, side), pixels).save(data, "JPEG")
    return data.getvalue()


def write_photos(root: Path, *names: str) -> Path:
    """Write a different photo to each of these paths below `root`."""
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(seed))
    return root


def numbered(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in range(count)]


def run(*arguments: object) -> int:
    return program.main(["prepare", *map(str, arguments)])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_without_a_split_a_fifth_of_each_class_is_held_out(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_photos(tmp_path / "data", *numbered("Müsli Riegel", 10), *numbered("dog", 5))
    assert run(name, "--data", data, "--out", tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert f"{data} is read as class-folders: it has the folders Müsli Riegel, dog\n" in output
    assert "12 training photos, 3 validation photos, 2 classes" in output
    assert "Set num_classes=2 num_training_samples=12" in output
    labels = [label for _, label in prepare.photos(tmp_path / "out", "validation", name)]
    assert sorted(labels) == [0, 0, 1]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_folders_named_train_and_val_are_the_split(name: str, tmp_path: Path) -> None:
    names = [*numbered("train/cat", 3), *numbered("train/dog", 3), *numbered("val/cat", 1), *numbered("val/dog", 2)]
    data = write_photos(tmp_path / "data", *names)
    assert run(name, "--data", data, "--out", tmp_path / "out") == 0
    held_out = {path.read_bytes() for path, _ in prepare.photos(tmp_path / "out", "validation", name)}
    assert held_out == {path.read_bytes() for path in (data / "val").rglob("*.jpg")}


def test_a_seed_repeats_the_split_and_another_seed_changes_it(tmp_path: Path) -> None:
    data = class_folders.classification(write_photos(tmp_path, *numbered("cat", 20), *numbered("dog", 20)))
    first, repeated, other_seed = (prepare.split(data, seed=seed) for seed in (0, 0, 1))
    assert first == repeated != other_seed


def test_two_photos_with_the_same_name_in_a_class_are_both_kept(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "data", "cat/1.jpg", "cat/summer/1.jpg", "cat/2.jpg", *numbered("dog", 3))
    assert run(CLASSIFIERS[0], "--data", data, "--out", tmp_path / "out") == 0
    written = {path.read_bytes() for path in (tmp_path / "out").rglob("*.jpg")}
    assert written == {path.read_bytes() for path in data.rglob("*.jpg")}


def test_a_random_split_keeps_photos_with_the_same_name_in_both_parts(tmp_path: Path) -> None:
    names = [*numbered("train/cat", 4), *numbered("train/dog", 4), *numbered("val/cat", 4), *numbered("val/dog", 4)]
    data = write_photos(tmp_path / "data", *names)
    assert run(CLASSIFIERS[0], "--data", data, "--out", tmp_path / "out", "--split", "random") == 0
    written = {path.read_bytes() for path in (tmp_path / "out").rglob("*.jpg")}
    assert written == {path.read_bytes() for path in data.rglob("*.jpg")}


@pytest.mark.parametrize("names", [("Train", "Valid"), ("TRAINING", "Val"), ("seg_train", "seg_val"), ("train", "dev")])
def test_parts_are_recognised_by_words_in_folder_names(names: tuple[str, str], tmp_path: Path) -> None:
    train, val = names
    write_photos(
        tmp_path, f"{train}/cat/1.jpg", f"{train}/dog/2.jpg", f"{val}/dog/3.jpg", f"__MACOSX/{train}/cat/4.jpg"
    )
    data = class_folders.classification(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert [entry.part for entry in data.entries] == ["train", "train", "validation"]


def test_files_left_out_are_in_the_notes(tmp_path: Path) -> None:
    write_photos(
        tmp_path, "Training/cat/1.jpg", "Training/dog/2.jpg", "Training/dog/a.txt", "Testing/dog/3.jpg", "4.jpg"
    )
    data = class_folders.classification(tmp_path)
    assert {entry.path.name: entry.part for entry in data.entries} == {"1.jpg": "", "2.jpg": ""}
    assert data.notes == {
        "files outside the folders for training and validation, left out": ["4.jpg"],
        TEST_PHOTOS: ["Testing/dog/3.jpg"],
        "files in class folders without the suffix of an image, left out": ["Training/dog/a.txt"],
    }


@pytest.mark.parametrize("name", ["train", "Test set"])
def test_a_class_may_have_the_name_of_a_part(name: str, tmp_path: Path) -> None:
    data = class_folders.classification(write_photos(tmp_path, f"{name}/1.jpg", "bus/2.jpg", "__MACOSX/bus/3.jpg"))
    assert set(data.class_names) == {name, "bus"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["fold1/cat/1.jpg", "fold1/dog/1.jpg", "fold2/cat/1.jpg", "fold2/dog/1.jpg"], "fold1, fold2, which all hold"),
        (["val/cat/1.jpg", "val/dog/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg"], "test, val, which all hold cat, dog"),
        (["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "more/1.jpg"], "the folders more, train, val, but"),
        (["train/1.jpg", "val/2.jpg", "test/3.jpg"], "the folders test, train, val, but a data set"),
        (["seg_train/seg_train/cat/1.jpg", "seg_test/seg_test/cat/1.jpg", "seg_pred/1.jpg"], "seg_pred, seg_test, seg"),
    ],
)
def test_parts_that_would_become_classes_are_rejected(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        class_folders.classification(write_photos(tmp_path, *names))


@pytest.mark.parametrize("above", ["PetImages", "archive/PetImages", "train/train"])
def test_class_folders_one_level_too_deep_are_rejected_with_the_folder_to_use(above: str, tmp_path: Path) -> None:
    write_photos(tmp_path, f"{above}/Cat/1.jpg", f"{above}/Dog/2.jpg", "__MACOSX/3.jpg")
    with pytest.raises(UserError, match=f"if the classes are Cat, Dog in .*, use --data {tmp_path}/{above}$"):
        class_folders.classification(tmp_path)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["cat/1.jpg"], [], "has only one class folder, cat/: a classifier needs at least two"),
        (["1.jpg"], [], "has 1 photo but no labels, or is not in a supported layout: "),
        (["cat/a.txt", "dog/b.txt"], [], "has no photos in its class folders"),
        (["train/cat/1.jpg", "train/dog/2.jpg", "val/cta/3.jpg"], [], "has the class folder cta/, which folder"),
        (
            ["cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg"],
            ["--split", "official"],
            "has no split, such as folders train and val",
        ),
        (["cat/1.jpg", "dog/2.jpg"], ["--classes", "breed"], "--classes breed is only for the pet data set: omit it ("),
    ],
)
def test_unusable_folders_are_rejected_with_the_folder_and_the_fix(
    names: list[str], options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_photos(tmp_path / "data", *names)
    assert run(CLASSIFIERS[0], "--data", data, "--out", tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("object-detection", "has no boxes: detection takes"),
        ("semantic-segmentation", "has no masks: segmentation takes"),
    ],
)
def test_algorithms_that_need_boxes_or_masks_reject_class_folders(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_photos(tmp_path / "data", "cat/1.jpg", "dog/2.jpg")
    assert run(name, "--data", data, "--out", tmp_path / "out") == 2
    assert f"{data} is read as class-folders (it has the folders cat, dog), which {message}" in capsys.readouterr().err


def test_a_damaged_photo_is_listed_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_photos(tmp_path / "data", *numbered("cat", 5), *numbered("dog", 5))
    (data / "cat" / "0.jpg").write_bytes(jpeg(0)[:300])
    assert run(CLASSIFIERS[0], "--data", data, "--out", tmp_path / "out") == 0
    assert "listed photos that cannot be read, skipped: 1 (0.jpg is truncated" in capsys.readouterr().out


def test_a_missing_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder: give the folder of the data set"):
        layouts.detect(tmp_path / "no")


def test_the_drawn_pets_keep_their_labels_in_class_folders(tmp_path: Path) -> None:
    draw.data_set(tmp_path / "pets", 3, 1)
    for pet in pets.classification(tmp_path / "pets").entries:
        folder = tmp_path / "folders" / ("train" if pet.part == "train" else "val") / pet.target[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / pet.path.name).write_bytes(pet.path.read_bytes())

    def labels_by_photo(data: Path, out: Path, *options: str) -> dict[bytes, str]:
        assert run("image-classification-tensorflow", "--data", data, "--out", out, *options) == 0
        return {path.read_bytes(): f"{path.parent.parent.name}/{path.parent.name}" for path in out.rglob("*.jpg")}

    as_pets = labels_by_photo(tmp_path / "pets", tmp_path / "one", "--classes", "breed")
    assert len(as_pets) == 24
    assert labels_by_photo(tmp_path / "folders", tmp_path / "two") == as_pets
