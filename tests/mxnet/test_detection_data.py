"""Channels of object-detection: both formats, network inputs, bad data, errors, and real photos."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serve import preprocess
from tests.mxnet import detection
from tests.mxnet.batches import log_lines
from tests.photos import encode
from train.data import channels, recordio
from train.errors import UserError
from train.object_detection import data, network
from train.object_detection.hyperparameters import Hyperparameters

CHANNELS = ("train", "validation")


def hyperparameters(**changes: Any) -> Hyperparameters:
    """Return the checked hyperparameters of a small job."""
    return detection.hyperparameters(**{"mini_batch_size": 4, "image_shape": 96, **changes})


def load(base: Path, **changes: Any) -> data.Data:
    """Load the channels under `base`."""
    return data.load(channels.load(base / "input"), hyperparameters(**changes))


def scene(rng: np.random.Generator, width: int = 160, height: int = 120) -> tuple[Image.Image, dict[str, Any]]:
    """Return a dark photo with one light rectangle, and its annotation."""
    wide, high = int(rng.integers(40, 80)), int(rng.integers(40, 60))
    left, top = int(rng.integers(0, width - wide)), int(rng.integers(0, height - high))
    image = Image.fromarray(rng.integers(0, 60, (height, width, 3)).astype(np.uint8))
    image.paste("white", (left, top, left + wide, top + high))
    row = {"class_id": int(rng.integers(2)), "left": left, "top": top, "width": wide, "height": high}
    return image, {"image_size": [{"width": width, "height": height, "depth": 3}], "annotations": [row]}


def put(base: Path, channel: str, name: str, photo: bytes | None, annotation: dict[str, Any] | None) -> None:
    """Write a photo and its annotation file. None omits one of them."""
    root, note = base / "input" / "data", Path(name).with_suffix(".json")
    if photo is not None:
        (root / channel).mkdir(parents=True, exist_ok=True)
        (root / channel / name).write_bytes(photo)
    if annotation is not None:
        (root / f"{channel}_annotation").mkdir(parents=True, exist_ok=True)
        (root / f"{channel}_annotation" / note).write_text(json.dumps(annotation))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Image channels with 8 and 4 scenes."""
    return write_scenes(tmp_path)


def write_scenes(base: Path) -> Path:
    """Write image channels with 8 and 4 scenes, annotations and categories."""
    rng = np.random.default_rng(0)
    categories = [{"class_id": 0, "name": "cat"}, {"class_id": 1, "name": "dog"}]
    for channel, count in zip(CHANNELS, (8, 4), strict=True):
        for index in range(count):
            image, annotation = scene(rng)
            put(base, channel, f"{index}.jpg", encode(image), {**annotation, "categories": categories})
    return base


def write_records(base: Path, source: Path) -> None:
    """Write the image channels under `source` as RecordIO channels under `base`, with a classes.txt."""
    for channel in CHANNELS:
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True)
        with recordio.Writer(folder / f"{channel}.rec") as writer:
            for number, path in enumerate(sorted((source / "input" / "data" / channel).glob("*.jpg"))):
                note = source / "input" / "data" / f"{channel}_annotation" / f"{path.stem}.json"
                document = json.loads(note.read_text())
                size, label = document["image_size"][0], [2.0, 5.0]
                for row in document["annotations"]:
                    x, y = row["left"] / size["width"], row["top"] / size["height"]
                    wide, high = row["width"] / size["width"], row["height"] / size["height"]
                    label += [row["class_id"], x, y, x + wide, y + high]
                writer.write(recordio.pack_image(label, number, path.read_bytes()))
    (base / "input" / "data" / "train" / "classes.txt").write_text("Cat\nDog\n")


# ---- reading ----------------------------------------------------------------------------------------------------


def test_images_with_annotations_and_recordio_give_the_same_samples(scenes: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "records", scenes)
    image, record = load(scenes), load(tmp_path / "records")
    for channel, count in zip(CHANNELS, (8, 4), strict=True):
        pairs = list(zip(getattr(image, channel), getattr(record, channel), strict=True))
        assert len(pairs) == count
        for from_image, from_record in pairs:
            np.testing.assert_allclose(from_image.label, from_record.label, rtol=0, atol=1e-6)
    for index in range(8):
        np.testing.assert_array_equal(image.photos[index], record.photos[index])


def test_class_names_come_from_categories_or_classes_txt(scenes: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "records", scenes)
    assert list(load(scenes).class_names) == ["cat", "dog"]
    assert list(load(tmp_path / "records").class_names) == ["Cat", "Dog"]


def test_validation_inputs_match_the_servers(scenes: Path) -> None:
    loaded = load(scenes)
    spec = loaded.spec
    assert (spec.rule, spec.height, spec.width, spec.channels) == ("stretch", 96, 96, 3)
    for index, sample in enumerate(loaded.validation):
        np.testing.assert_array_equal(loaded.validation_tensor(index), preprocess.load(sample.read(), spec))


def test_a_validation_box_is_on_its_object_in_the_input(scenes: Path) -> None:
    loaded = load(scenes)
    columns = np.flatnonzero((loaded.validation_tensor(0).min(axis=0) > 1).any(axis=0))
    _, left, _, right, _ = loaded.validation[0].label[0]
    assert [columns[0], columns[-1] + 1] == pytest.approx([left * 96, right * 96], abs=1.5)


def test_batches_hold_images_and_targets_and_depend_only_on_the_seed(scenes: Path) -> None:
    hp, anchors = hyperparameters(), network.anchors("resnet-18", 96)
    batches = load(scenes).train_batches(hp, anchors)
    first, again, second = (next(iter(batches.epoch(number))) for number in (0, 0, 1))
    assert len(batches) == 2
    assert [part.shape for part in first] == [(4, 3, 96, 96), (4, len(anchors)), (4, len(anchors), 4)]
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in first)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], second[0])
    assert (first[1] > 0).any(axis=1).all(), "each photo must have a matched anchor"
    assert set(np.unique(first[1])) <= {0, 1, 2}


@pytest.mark.parametrize(("kind", "shape"), [("JPEG", (150, 200, 3)), ("PNG", (100, 134, 3))])
def test_large_photos_are_cached_at_the_size_that_the_input_needs(
    kind: str, shape: tuple[int, int, int], scenes: Path
) -> None:
    image, annotation = scene(np.random.default_rng(1), 1600, 1200)
    put(scenes, "train", f"large.{kind.lower()}", encode(image, kind), annotation)
    loaded = load(scenes)
    assert loaded.train[-1].name == f"large.{kind.lower()}"
    assert loaded.photos[len(loaded.train) - 1].shape == shape


# ---- bad data ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[data.Data, list[str]]:
    """The data loaded from a training channel with every kind of bad data, and the log lines."""
    base, rng = write_scenes(tmp_path_factory.mktemp("dirty")), np.random.default_rng(9)
    image, note = scene(rng)
    row, size = note["annotations"][0], note["image_size"]
    jpeg = encode(image)
    bad = [{**row, "width": 0}, {**row, "left": -5}, {**row, "left": 500}, {**row, "top": float("nan")}, row]
    turned = Image.Exif()
    turned[0x0112] = 6
    other, other_note = scene(rng)
    for name, photo, annotation in (
        ("a_turned.jpg", encode(image, exif=turned), note),
        ("b_grey.jpg", encode(image.convert("L")), note),
        ("c_empty.jpg", jpeg, {"annotations": []}),
        ("d_other_size.jpg", jpeg, {**note, "image_size": [{"width": 320, "height": 240}]}),
        ("e_boxes.jpg", jpeg, {"annotations": bad, "image_size": size}),
        ("f_truncated.jpg", jpeg[:300], note),
        ("g_alone.jpg", jpeg, None),
        ("h_gone.jpg", None, note),
        ("i_clear.png", encode(other.convert("RGBA"), "PNG"), {"annotations": other_note["annotations"]}),
    ):
        put(base, "train", name, photo, annotation)
    with log_lines() as lines:
        loaded = load(base, unreadable_tolerance=0.2, num_classes=3)
    return loaded, lines


def light(photo: np.ndarray) -> list[float]:
    """Return the light rectangle's xmin, ymin, xmax, ymax in fractions of the photo."""
    inside = photo.min(axis=2) > 128
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    height, width = inside.shape
    return [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]


def test_usable_photos_are_kept_with_their_usable_boxes(dirty: tuple[data.Data, list[str]]) -> None:
    boxes = {sample.name: len(sample.label) for sample in dirty[0].train}
    clean = {f"{index}.jpg": 1 for index in range(8)}
    usable = {"a_turned.jpg": 1, "b_grey.jpg": 1, "c_empty.jpg": 0, "e_boxes.jpg": 2, "i_clear.png": 1}
    assert boxes == clean | usable


def test_boxes_match_their_photos_and_are_rotated_with_them_if_needed(dirty: tuple[data.Data, list[str]]) -> None:
    loaded, _ = dirty
    for index, sample in enumerate(loaded.train):
        if len(sample.label):
            assert sample.label[-1, 1:] == pytest.approx(light(loaded.photos[index]), abs=0.02), sample.name


def test_greyscale_and_transparent_photos_are_converted_to_rgb(dirty: tuple[data.Data, list[str]]) -> None:
    loaded, _ = dirty
    assert {loaded.photos[index].shape[2] for index in range(len(loaded.train))} == {3}


def test_categories_that_do_not_name_every_class_are_ignored(dirty: tuple[data.Data, list[str]]) -> None:
    assert list(dirty[0].class_names) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "line",
    [
        "annotation files without an image, left out: 1 (h_gone.json)",
        "images of train without an annotation file, left out: 1 (g_alone.jpg)",
        "1 of 15 train images cannot be read (left out)",
        "train images whose size differs from their annotation's image_size, left out: 1 "
        "(d_other_size.jpg (160 x 120, not 320 x 240))",
        "boxes with zero area, dropped: 1 (train e_boxes.jpg box 0)",
        "boxes partly outside their image, clipped: 1 (train e_boxes.jpg box 1)",
        "boxes outside their image, dropped: 1 (train e_boxes.jpg box 2)",
        "boxes with a side that is NaN or infinite, dropped: 1 (train e_boxes.jpg box 3)",
        "1 of 13 train images have no box and are kept as background",
        "num_training_samples=8, but there are 13 readable training images: "
        "the learning-rate schedule uses num_training_samples",
        "no training box has the label 2: num_classes=3 may be too high",
        "the annotations' categories are not used: they do not have exactly one name for each class from 0 to 2",
    ],
)
def test_each_kind_of_bad_data_is_counted_and_named(line: str, dirty: tuple[data.Data, list[str]]) -> None:
    assert line in dirty[1]


# ---- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mini_batch_size": 9}, "8 readable training images, mini_batch_size=9; lower it"),
        (
            {"num_classes": 1},
            "json, annotation 0 has the class 1: classes are whole numbers from 0 to 0 (num_classes=1)",
        ),
    ],
)
def test_hyperparameters_that_contradict_the_data_are_rejected(
    changes: dict[str, int], message: str, scenes: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load(scenes, **changes)


def rewrite(scenes: Path, pattern: str, old: str, new: str) -> None:
    """Replace text in annotation files."""
    for path in (scenes / "input" / "data").glob(pattern):
        path.write_text(path.read_text().replace(old, new))


def test_annotations_of_other_images_are_rejected(scenes: Path) -> None:
    rewrite(scenes, "train_annotation/*.json", "160", "161")
    message = (
        "8 of 8 train images differ in size from their annotation's image_size, more than unreadable_tolerance=0.05 "
        "allows: annotate"
    )
    with pytest.raises(UserError, match=re.escape(message)):
        load(scenes)


def test_a_channel_without_boxes_is_rejected(scenes: Path) -> None:
    for path in (scenes / "input" / "data" / "validation_annotation").iterdir():
        path.write_text('{"annotations": []}')
    with pytest.raises(UserError, match="no validation image has a box"):
        load(scenes)


def test_a_number_of_class_names_other_than_num_classes_is_rejected(scenes: Path) -> None:
    rewrite(scenes, "*_annotation/*.json", "categories", "other")
    (scenes / "input" / "data" / "train_annotation" / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(UserError, match=r"train_annotation/classes\.txt names 3 classes but num_classes=2"):
        load(scenes)


def test_images_without_an_annotation_channel_are_rejected(scenes: Path) -> None:
    shutil.rmtree(scenes / "input" / "data" / "train_annotation")
    with pytest.raises(UserError, match="channel 'train_annotation' is missing"):
        load(scenes)


# ---- real photos ------------------------------------------------------------------------------------------------


def pet_annotation(path: Path, photo: Path) -> dict[str, Any]:
    """Return an annotation with the head boxes from one of the data set's XML files."""
    root, rows = ET.parse(path).getroot(), []
    for item in root.iter("object"):
        left, top, right, bottom = (int(item.find(f"bndbox/{side}").text) for side in ("xmin", "ymin", "xmax", "ymax"))
        row = {"left": left - 1, "top": top - 1, "width": right - left + 1, "height": bottom - top + 1}
        rows.append({"class_id": ("cat", "dog").index(item.find("name").text), **row})
    size = {key: int(root.find(f"size/{key}").text) for key in ("width", "height")}
    return {"file": photo.name, "image_size": [size], "annotations": rows}


def test_all_real_photos_are_read_and_have_matched_anchors_after_augmentation(pets: Path, tmp_path: Path) -> None:
    notes = [path for path in (pets / "annotations" / "xmls").glob("*.xml") if not path.name.startswith(".")]
    assert len(notes) > 250
    for number, path in enumerate(sorted(notes)):
        photo = pets / "images" / f"{path.stem}.jpg"
        put(tmp_path, CHANNELS[number % 5 == 0], photo.name, photo.read_bytes(), pet_annotation(path, photo))
    loaded = load(tmp_path, image_shape=300, mini_batch_size=16)
    assert len(loaded.train) + len(loaded.validation) == len(notes)
    for _, classes, _ in loaded.train_batches(hyperparameters(), network.anchors("resnet-18", 300)).epoch(0):
        assert (classes > 0).any(axis=1).all()
