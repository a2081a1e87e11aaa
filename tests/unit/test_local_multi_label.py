"""Multi-label classification in `local`: channels of photos with several classes, and metrics checked by hand."""

import io
from pathlib import Path

import pytest
from PIL import Image

from local import algorithms
from local.algorithms.image_classification import ALGORITHM as algorithm
from local.algorithms.image_classification import Prediction
from local.commands import prepare
from local.datasets.dataset import DataSet, Entry, Labels
from local.datasets.names import folder_names
from local.errors import UserError
from train.data import lst, recordio

NAMES = ("cat", "dog", "grass/green")


def photo(path: Path, shade: int) -> Path:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(data, "JPEG")
    path.write_bytes(data.getvalue())
    return path


@pytest.fixture
def data(tmp_path: Path) -> DataSet[Labels]:
    """Four photos: a cat and a dog, a cat on grass, nothing, and a dog."""
    labels_by_photo = [("cat", "dog"), ("grass/green", "cat"), (), ("dog",)]
    folder = tmp_path / "data"
    folder.mkdir()
    entries = tuple(
        Entry(str(number), photo(folder / f"{number}.jpg", 60 * number), labels)
        for number, labels in enumerate(labels_by_photo)
    )
    return DataSet(folder, entries, NAMES, multi_label=True)


def write(data: DataSet[Labels], out: Path, form: str = "image") -> prepare.Summary:
    return prepare.write_channels(data, data.entries, data.entries[:2], out, name="image-classification", form=form)


def test_lines_hold_zeros_and_ones_that_training_and_prepare_read_back(data: DataSet[Labels], tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = write(data, out)
    assert summary.hyperparameters == {"num_classes": 3, "num_training_samples": 4, "multi_label": 1}
    samples = lst.read(out / "train_lst" / "train.lst", "train.lst", out / "train", 3, lst.multi_hot)
    assert {sample.name: sample.label.tolist() for sample in samples} == {
        "0.jpg": [1, 1, 0],
        "1.jpg": [1, 0, 1],
        "2.jpg": [0, 0, 0],
        "3.jpg": [0, 1, 0],
    }
    truths = {path.name: truth for path, truth in algorithm.photos(out, "train")}
    assert truths == {"0.jpg": (0, 1), "1.jpg": (0, 2), "2.jpg": (), "3.jpg": (1,)}
    assert (out / "train_lst" / "classes.txt").read_text() == "cat\ndog\ngrass/green\n"


def test_records_have_the_same_labels(data: DataSet[Labels], tmp_path: Path) -> None:
    write(data, tmp_path / "out", "recordio")
    path = tmp_path / "out" / "validation" / "validation.rec"
    records = [recordio.unpack_image(recordio.read(path, *place)) for place in recordio.scan(path)]
    assert [record.labels.tolist() for record in records] == [[1, 1, 0], [1, 0, 1]]


def test_class_folders_cannot_hold_several_labels(data: DataSet[Labels], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the photos have several labels.*use image-classification"):
        prepare.write_channels(data, data.entries, data.entries, tmp_path / "out", name=algorithms.TRAINING[-1])
    assert not (tmp_path / "out").exists()


def test_class_names_become_valid_folder_names_and_collisions_are_rejected() -> None:
    assert folder_names(["a/b", "..", ".git", "Müsli Riegel", "x."]) == ["a_b", "__", "_git", "Müsli Riegel", "x_"]
    with pytest.raises(UserError, match=r"the classes 'a/b' and 'A_b' would share the folder A_b/: rename one"):
        folder_names(["a/b", "A_b"])


def test_the_table_and_the_f1_score_count_labels_above_one_half(data: DataSet[Labels], tmp_path: Path) -> None:
    predictions = [
        Prediction(data.entries[0].path, (0, 1), (0.9, 0.4, 0.1)),
        Prediction(data.entries[1].path, (0, 2), (0.8, 0.6, 0.7)),
        Prediction(data.entries[2].path, (), (0.1, 0.1, 0.5)),
    ]
    assert [prediction.right for prediction in predictions] == [False, False, True]
    assert [line.split() for line in algorithm.table(predictions, NAMES).splitlines()] == [
        ["class", "photos", "found", "false", "F1"],
        ["cat", "2", "2", "0", "1.00"],
        ["dog", "1", "0", "1", "0.00"],
        ["grass/green", "1", "1", "0", "1.00"],
    ]
    assert algorithm.summary_line(predictions) == "F1 0.75 (of all labels of 3 photos)"
    algorithm.sheet(predictions, NAMES, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 158 + 8, 188 + 16)
