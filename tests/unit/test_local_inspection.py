"""`inspect`: channels that cause each warning and no other, and channels that cause none."""

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from local.inspection import report
from local.inspection import settings as inspection_settings
from tests.unit import tiny_channels
from tests.unit.tiny_channels import (
    SIZE,
    both_boxes,
    both_lst,
    both_masks,
    box_record,
    findings_in,
    folders,
    lst,
    mask,
    messages_in,
    photo,
    records,
    take_census,
    write,
)
from train.data import recordio

IC = "image-classification"
TF = "image-classification-tensorflow"
OD = "object-detection"
SS = "semantic-segmentation"
BOX = (8, 6, 20, 16)  # left, top, width, height


# --- clean channels ---------------------------------------------------------------------------------------------------


@settings(max_examples=6)
@given(st.integers(2, 4), st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_balanced_channels_without_duplicates_give_no_warning(classes: int, train: int, held: int, random) -> None:  # noqa: ANN001
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        labels = [label for label in range(classes) for _ in range(train)]
        validation = [label for label in range(classes) for _ in range(held)]
        random.shuffle(labels)
        both_lst(root / IC, labels, validation)
        hot = ["\t".join(str(int(column == label)) for column in range(classes)) for label in labels]
        both_lst(root / "several", hot, hot)
        both_boxes(root / OD, [[(label, *BOX)] for label in labels], [[(label, *BOX)] for label in validation])
        both_masks(root / SS, [mask(*range(classes))] * train, [mask(*range(classes), 255)] * held)
        folders(root / TF, "training", {f"class {label}": train for label in range(classes)}, 0)
        folders(root / TF, "validation", {f"class {label}": held for label in range(classes)}, 10_000)
        for name, place in ((IC, IC), (IC, "several"), (TF, IC), (TF, TF), (OD, OD), (SS, SS)):
            assert findings_in(name, root / place) == []
            sizes = take_census(name, root / place).hyperparameters
            assert sizes["num_classes"] == classes
            assert sizes.get("multi_label", 0) == (place == "several")


@pytest.mark.parametrize("name", [IC, OD])
def test_clean_records_give_no_warning(name: str, tmp_path: Path) -> None:
    for channel, first in (("train", 0), ("validation", 100)):
        packed = [
            recordio.pack_image(float(index % 2), index, photo(index))
            if name == IC
            else box_record([(index % 2, 0.2, 0.2, 0.7, 0.7)], index)
            for index in range(first, first + 4)
        ]
        records(tmp_path, channel, packed)
    assert findings_in(name, tmp_path) == []
    assert take_census(name, tmp_path).listing.form == "RecordIO"


# --- labels -----------------------------------------------------------------------------------------------------------


def test_labels_that_start_at_1_are_reported(tmp_path: Path) -> None:
    both_lst(tmp_path, [1, 2, 3], [1, 2, 3])
    assert messages_in(IC, tmp_path) == [
        "Labels start at 1: they are 1 to 3, and label 0 does not occur. The network gets an unused output, and "
        "num_classes must be 4. Number the classes from 0: subtract 1 from each label."
    ]


@pytest.mark.parametrize("name", [OD, SS])
def test_boxes_and_masks_with_classes_that_start_at_1_are_reported(name: str, tmp_path: Path) -> None:
    if name == OD:
        both_boxes(tmp_path, [[(1, *BOX), (2, *BOX)]], [[(1, *BOX), (2, *BOX)]])
    else:
        both_masks(tmp_path, [mask(1, 2)], [mask(1, 2)])
    (message,) = messages_in(name, tmp_path)
    assert message.startswith("Labels start at 1: they are 1 to 2, and label 0 does not occur. ")


def test_labels_that_start_at_1_with_too_few_names_give_an_error_and_a_warning(tmp_path: Path) -> None:
    both_lst(tmp_path, [1, 2], [1, 2])
    write(tmp_path / "train_lst" / "classes.txt", "cat\ndog\n")
    first, second = messages_in(IC, tmp_path)
    assert first.startswith("!train_lst/classes.txt names 2 classes but num_classes=3: ")
    assert second.startswith("Labels start at 1: they are 1 to 2, and label 0 (cat) does not occur.")


def test_gaps_between_labels_are_reported(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 3], [0, 3])
    assert messages_in(IC, tmp_path) == [
        "Classes without a training photo: 2 of 4: 1, 2. The network cannot learn them. Add photos, or number the "
        "classes from 0 without gaps."
    ]


def test_the_class_that_prepare_names_unused_is_not_a_gap(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(1, 2)], [mask(1, 2)])
    write(tmp_path / "train_annotation" / "classes.txt", "unused\npet\nbackground\n")
    assert messages_in(SS, tmp_path) == []


def test_a_single_class_is_reported(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 0], [0])
    assert messages_in(IC, tmp_path) == [
        "All photos are of one class, 0: there is nothing to learn, and the accuracy is 1 from the start. Add photos "
        "of other classes."
    ]


def test_a_single_class_folder_ends_the_job_and_its_photos_are_still_counted(tmp_path: Path) -> None:
    folders(tmp_path, "training", {"cat": 3}, 0)
    folders(tmp_path, "validation", {"cat": 1}, 100)
    first, *_ = messages_in(TF, tmp_path)
    assert first.startswith("!channel 'training' has only one class folder, cat/: a classifier needs at least two")
    assert len(take_census(TF, tmp_path).part("train")) == 3


def test_a_class_folder_that_only_validation_has_is_reported(tmp_path: Path) -> None:
    folders(tmp_path, "training", {"cat": 2, "dog": 2}, 0)
    folders(tmp_path, "validation", {"cat": 1, "dogs": 1}, 500)
    first, second = messages_in(TF, tmp_path)
    assert (
        first
        == "!channel 'validation' has the class folder dogs/, which channel 'training' does not have: did you mean dog?"
    )
    assert second.startswith("Classes without a validation photo: 1 of 2: 1 (dog).")


@pytest.mark.parametrize(("rare", "warned"), [(1, True), (2, False)])
def test_an_imbalance_of_ten_to_one_is_reported(rare: int, warned: bool, tmp_path: Path) -> None:
    both_lst(tmp_path, [0] * 10 + [1] * rare, [0, 1])
    messages = messages_in(IC, tmp_path)
    assert len(messages) == warned
    assert not warned or messages[0].startswith(
        "Strong imbalance: class 0 has 10 training photos, but class 1 has 1. The metrics can look good although"
    )


def test_imbalance_of_boxes_counts_boxes(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[(0, *BOX)] * 20 + [(1, *BOX)]], [[(0, *BOX), (1, *BOX)]])
    (message,) = messages_in(OD, tmp_path)
    assert message.startswith("Strong imbalance: class 0 has 20 training boxes, but class 1 has 1.")


def test_classes_without_photos_to_validate_on_are_reported(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1, 2], [0])
    write(tmp_path / "train_lst" / "classes.txt", "cat\ndog\nlong tail\n")
    assert messages_in(IC, tmp_path) == [
        "Classes without a validation photo: 2 of 3: 1 (dog), 2 (long tail). The metrics ignore these classes. Move "
        "some photos from train to validation."
    ]


def test_fewer_photos_than_a_batch_end_the_job(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1, 0], [0, 1])
    assert messages_in(IC, tmp_path, mini_batch_size=32) == [
        "!There are only 3 training photos, fewer than a batch needs (mini_batch_size=32, the default). Add "
        "photos, or set mini_batch_size to at most 3."
    ]


def test_every_bad_line_of_a_list_is_reported_as_in_training_and_the_others_are_read(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1, "x", "1.5", 0], [0, 1])
    path = tmp_path / "train_lst" / "train.lst"
    path.write_text("index\tlabel\tpath\n" + path.read_text() + "4\t1\t0.jpg\nno tabs\n")
    (finding,) = findings_in(IC, tmp_path)
    assert finding.fatal
    assert finding.message == (
        "train_lst/train.lst, line 1 is a header, 'index\\tlabel\\tpath': remove the line; with pandas, write with "
        "header=False."
    )
    assert [message.partition(":")[0] for message in finding.details[1:]] == [
        "train_lst/train.lst, line 4 has a label that is not a number",
        "train_lst/train.lst, line 7 repeats the index '4' of line 6",
        "train_lst/train.lst, line 8 has 1 tab-separated field",
        "train_lst, 3.jpg has the label 1.5",
    ]
    assert [item.annotation.labels for item in take_census(IC, tmp_path).part("train")] == [(0,), (1,), (0,)]


def test_several_labels_make_channels_multi_label_and_lines_with_fewer_labels_are_rejected(tmp_path: Path) -> None:
    both_lst(tmp_path, ["1\t0\t1", "0\t1\t0", "0\t0\t0", "1\t0"], ["1\t1\t1"])
    counted = take_census(IC, tmp_path)
    assert counted.hyperparameters == {"num_classes": 3, "num_training_samples": 3, "multi_label": 1}
    assert [item.annotation.labels for item in counted.part("train")] == [(0, 2), (1,), ()]
    (message,) = messages_in(IC, tmp_path)
    assert message.startswith(
        "!train_lst, 3.jpg has 2 label values [1.0, 0.0]: with multi_label=1 it needs num_classes=3"
    )


def test_the_index_that_pandas_writes_is_not_taken_for_a_second_label(tmp_path: Path) -> None:
    both_lst(tmp_path, [f"{index}\t{index % 3}" for index in range(6)], [0, 1, 2])
    first, *_ = findings_in(IC, tmp_path)
    assert first.fatal
    assert "or remove the first column if it is the index that pandas writes" in first.message
    assert len(first.details) == 6


def test_a_damaged_record_file_is_read_up_to_the_damage(tmp_path: Path) -> None:
    packed = [recordio.pack_image(float(index % 2), index, photo(index)) for index in range(4)]
    path = records(tmp_path, "train", packed)
    records(tmp_path, "validation", [recordio.pack_image(float(index), index, photo(9 + index)) for index in (0, 1)])
    path.write_bytes(path.read_bytes()[:-30])
    (message,) = messages_in(IC, tmp_path)
    assert message.startswith(f"!{path} is truncated: ")
    assert len(take_census(IC, tmp_path).part("train")) == 3


def test_class_names_that_are_not_utf_8_are_reported(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1], [0, 1])
    write(tmp_path / "train_lst" / "classes.txt", b"caf\xe9\nbar\n")
    (message,) = messages_in(IC, tmp_path)
    assert message.startswith("!train_lst/classes.txt is not UTF-8 text (")


# --- photos -----------------------------------------------------------------------------------------------------------


def test_a_share_of_grey_photos_is_reported(tmp_path: Path) -> None:
    grey = [photo(seed, grey=seed < 4) for seed in range(10)]
    lst(tmp_path, "train", [0, 0, 1, 1, 0, 0, 0, 1, 1, 1], 0, grey)
    lst(tmp_path, "validation", [0, 1], 100)
    (finding,) = findings_in(IC, tmp_path)
    assert finding.message == (
        "40 % of the training photos and 0 % of the validation photos are grey. The network may learn from colour "
        "instead of content. Use only the kind of photos that the endpoint will get, or the same fraction of grey "
        "photos in each class."
    )
    assert finding.details == ("train/0.jpg", "train/1.jpg", "train/2.jpg", "train/3.jpg")


def test_a_class_of_grey_photos_among_coloured_classes_is_reported(tmp_path: Path) -> None:
    for channel, first in (("train", 0), ("validation", 100)):
        lst(tmp_path, channel, [0, 1], 0, [photo(first, grey=True), photo(first + 1)])
    (message,) = messages_in(IC, tmp_path)
    assert "50 % of the validation photos are grey, including most of class 0. " in message


def test_photos_that_are_all_grey_give_no_warning(tmp_path: Path) -> None:
    for channel, first in (("train", 0), ("validation", 100)):
        lst(tmp_path, channel, [0, 1], 0, [photo(first, grey=True), photo(first + 1, grey=True)])
    assert messages_in(IC, tmp_path) == []


def test_the_same_picture_in_train_and_validation_is_detected_by_its_pixels(tmp_path: Path) -> None:
    jpeg = photo(0)
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(file, "PNG")
    lst(tmp_path, "train", [0, 1], 0, [jpeg, photo(1)])
    lst(tmp_path, "validation", [0, 1], 0, [file.getvalue(), photo(2)])
    (finding,) = findings_in(IC, tmp_path)
    assert finding.message.startswith(
        "The same images are in train and validation: 1 of 2 validation photos is also in train."
    )
    assert finding.details == ("train/0.jpg = validation/0.jpg",)


def test_the_same_picture_with_different_labels_is_reported(tmp_path: Path) -> None:
    lst(tmp_path, "train", [0, 1, 1], 0, [photo(0), photo(0), photo(1)])
    lst(tmp_path, "validation", [0, 1], 100)
    (finding,) = findings_in(IC, tmp_path)
    assert finding.message.startswith("The same image has different labels: 1 pair of photos.")
    assert finding.details == ("train/0.jpg (0) = train/1.jpg (1)",)


@pytest.mark.parametrize(("bad", "ends"), [(1, False), (2, True)])
def test_unreadable_photos_end_the_job_above_the_tolerance(bad: int, ends: bool, tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1] * 10, [0, 1])
    write(tmp_path / "train" / "0.jpg", photo(0)[:200])
    (tmp_path / "train" / "1.jpg").unlink()
    if bad == 1:
        write(tmp_path / "train" / "1.jpg", photo(1))
    (finding,) = findings_in(IC, tmp_path)
    suffix = ", more than unreadable_tolerance=0.05 allows" if ends else ""
    assert (
        finding.message == f"train: photos that cannot be read, left out: {bad} of 20{suffix}. Repair or remove them."
    )
    assert finding.fatal == ends
    assert finding.details[0].startswith("train/0.jpg is truncated")
    assert finding.details[1:] == (("train/1.jpg does not exist",) if ends else ())


@pytest.mark.parametrize(("side", "warned"), [(32, False), (33, True)])
def test_photos_smaller_than_the_image_shape_are_reported(side: int, warned: bool, tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1], [0, 1])
    findings = findings_in(IC, tmp_path, side)
    assert len(findings) == warned
    if warned:
        (finding,) = findings
        assert finding.message.startswith("4 of 4 photos are smaller than image_shape=3,33,33. Enlarging photos costs ")
        assert finding.details[0] == "train/0.jpg (40 x 32)"


def test_a_channel_without_readable_photos_ends_the_job(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1], [0, 1])
    for index in (0, 1):
        write(tmp_path / "validation" / f"{index}.jpg", b"none")
    assert [finding.message for finding in findings_in(IC, tmp_path) if finding.fatal] == [
        "validation: photos that cannot be read, left out: 2 of 2, more than unreadable_tolerance=0.05 allows. Repair "
        "or remove them.",
        "validation has no usable photo.",
    ]


# --- boxes ------------------------------------------------------------------------------------------------------------


def test_boxes_in_fractions_instead_of_pixels_are_reported(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[(0, 0.1, 0.2, 0.5, 0.5)]], [[(0, *BOX)]])  # type: ignore[list-item]
    (message,) = messages_in(OD, tmp_path)
    assert message == (
        "!boxes of 'train_annotation' must be in pixels but look like fractions: 0.json has a box from 0.1, 0.2 to "
        "0.6, 0.7; multiply them by the image's width and height."
    )


def test_boxes_in_pixels_instead_of_fractions_are_reported(tmp_path: Path) -> None:
    records(tmp_path, "train", [box_record([(0, 8, 6, 28, 22)], 0)])
    records(tmp_path, "validation", [box_record([(0, 0.2, 0.2, 0.7, 0.7)], 1)])
    first, *_ = messages_in(OD, tmp_path)
    assert first.startswith(
        "!labels of train.rec must be fractions from 0 to 1 but look like pixels: they go up to 28; divide"
    )


def test_boxes_that_are_tiny_at_the_image_shape_are_reported(tmp_path: Path) -> None:
    size = (160, 160)
    tiny_channels.boxes(tmp_path, "train", [[(0, 10, 10, 60, 60), (0, 9, 9, 19, 60)]], 0, size)
    tiny_channels.boxes(tmp_path, "validation", [[(0, 10, 10, 60, 60)]], 100, size)
    assert messages_in(OD, tmp_path, 64) == [
        "1 of 2 training boxes (50 %) is less than 8 pixels wide or high at image_shape=64, too small for the network "
        "to detect. Set a larger image_shape, or cut the photos into tiles."
    ]
    assert messages_in(OD, tmp_path, 80) == []


def test_more_objects_than_label_width_allows_are_reported(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[(0, *BOX)] * 70, [(0, *BOX)] * 69], [[(0, *BOX)]])
    (finding,) = findings_in(OD, tmp_path)
    assert finding.fatal
    assert finding.message == (
        "1 photo has up to 70 objects, but label_width=350, the default, holds only 69. Set label_width to at least "
        "352."
    )
    assert finding.details == ("train/0.jpg (70)",)


def test_photos_without_boxes_are_reported(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[], [], [(0, *BOX)]], [[]])
    first, second, third = messages_in(OD, tmp_path)
    assert first == "!validation: no photo has a usable box."
    assert second.startswith("Classes without a validation photo with a box: 1 of 1: 0.")
    assert third.startswith("train: 2 of 3 photos have no box. The network learns that they contain only background")


def test_every_bad_annotation_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[(0, *BOX)]] * 5, [[(0, *BOX)]])
    write(tmp_path / "train_annotation" / "1.json", "{")
    write(tmp_path / "train_annotation" / "2.json", json.dumps({"annotations": [{"class_id": 0, "left": "x"}]}))
    write(tmp_path / "train_annotation" / "7.json", json.dumps({"annotations": []}))
    first, *warnings = findings_in(OD, tmp_path)
    assert first.fatal
    assert [message.partition(" ")[2].partition(" (")[0] for message in first.details] == [
        "1.json is not JSON",
        '2.json, annotation 0 has left="x": it must be a number',
    ]
    assert [finding.message for finding in warnings] == [
        "annotation files without an image, left out: 1 (7.json).",
        "images of train without an annotation file, left out: 2 (1.jpg, 2.jpg).",
    ]
    assert len(take_census(OD, tmp_path).part("train")) == 3


def test_annotations_for_another_size_and_boxes_over_the_edge_are_reported(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[(0, 30, 6, 20, 16)]] + [[(0, *BOX)]] * 30, [[(0, *BOX)]])
    document = {"image_size": [{"width": 99, "height": 9}], "annotations": []}
    write(tmp_path / "train_annotation" / "1.json", json.dumps(document))
    first, second = findings_in(OD, tmp_path)
    assert first.message == (
        "train: photos whose size differs from their annotation's image_size, left out: 1 of 31. Create them again "
        "from the current photos."
    )
    assert first.details == ("train/1.jpg (40 x 32, not 99 x 9)",)
    assert second.message == "boxes partly outside their image, clipped: 1."
    assert second.details == ("train/0.jpg box 0",)


def test_contradictory_names_in_annotations_are_reported(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[(0, *BOX)]], [[(0, *BOX)]])
    for channel, name in (("train", "cat"), ("validation", "dog")):
        path = tmp_path / f"{channel}_annotation" / "0.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"categories": [{"class_id": 0, "name": name}]}))
    assert messages_in(OD, tmp_path) == [
        "the annotations' categories are not used as class names, because they do not give each class from 0 on "
        "exactly one name."
    ]


def test_a_classification_record_in_a_detection_channel_is_reported_as_in_training(tmp_path: Path) -> None:
    good = [(0, 0.2, 0.2, 0.7, 0.7)]
    records(tmp_path, "train", [box_record(good, 0), recordio.pack_image(1.0, 1, photo(1))])
    records(tmp_path, "validation", [box_record(good, 2)])
    (message,) = messages_in(OD, tmp_path)
    assert message.startswith("!train.rec, record 1 has 1 label value, as in image-classification: ")


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masks_of_0_and_255_are_reported(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(0, 255)], [mask(0, 255)])
    assert messages_in(SS, tmp_path) == [
        "!pixels with the value 255 are ignored, and all others in the masks of 'train_annotation' are class 0: if 255 "
        "is a class, "
        'provide a channel label_map with {"map": {"0": 0, "1": 255}}.'
    ]


def test_a_label_map_makes_0_and_255_two_classes(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(0, 255)], [mask(0, 255)])
    for part in ("train", "validation"):
        write(tmp_path / "label_map" / f"{part}_label_map.json", '{"map": {"0": 0, "1": 255}}')
    assert messages_in(SS, tmp_path) == []
    counted = take_census(SS, tmp_path)
    assert counted.hyperparameters["num_classes"] == 2
    assert counted.amounts("train") == {0: SIZE[0] * SIZE[1] // 2, 1: SIZE[0] * SIZE[1] // 2}


def test_masks_of_one_class_are_reported(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(0), mask(0)], [mask(0)])
    assert messages_in(SS, tmp_path) == [
        "!all pixels that count in the masks of 'train_annotation' are class 0: provide masks with at least two "
        "classes."
    ]


def test_palette_colours_saved_as_grey_are_reported(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(0, 38, 113)], [mask(0, 38, 113)])
    messages = messages_in(SS, tmp_path)
    assert len(messages) == 2, "one for each channel"
    assert messages[0].startswith(
        "!train_annotation/0.png has pixels with the value 38, but num_classes=3 has the classes 0"
    )
    assert 'as in {"map": {"0": 0, "1": 38, "2": 113}} for a palette saved as grey' in messages[0]


def test_a_mask_value_without_a_class_name_is_reported(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(0, 1, 2)], [mask(0, 1)])
    write(tmp_path / "train_annotation" / "classes.txt", "a\nb\n")
    first, *_ = messages_in(SS, tmp_path)
    assert first.startswith(
        "!train_annotation/0.png has pixels with the value 2, but num_classes=2 has the classes 0 to 1"
    )


def test_a_class_with_hardly_any_pixels_is_reported(tmp_path: Path) -> None:
    small = mask_with_counts({1: 3})
    both_masks(tmp_path, [small], [small])
    (message,) = messages_in(SS, tmp_path)
    assert message.startswith("Strong imbalance: 1 of 2 classes has less than 0.5 % of the training pixels: 1 0.23 %. ")


def test_masks_that_are_mostly_ignored_are_reported(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(0, 1, 255, 255, 255)], [mask(0, 1)])
    (message,) = messages_in(SS, tmp_path)
    assert message.startswith(
        "train: 60 % of the masks' pixels are 255, which is ignored: the network learns nothing from them. "
    )


def test_masks_of_another_size_and_coloured_masks_are_left_out(tmp_path: Path) -> None:
    coloured = io.BytesIO()
    Image.new("RGB", SIZE, (1, 2, 3)).save(coloured, "PNG")
    both_masks(tmp_path, [mask(0, 1)] * 8 + [mask(0, 1, size=(8, 8)), coloured.getvalue()], [mask(0, 1)])
    first, second = findings_in(SS, tmp_path)
    assert first.message.startswith(
        "train: masks whose size differs from their photo's, left out with it: 1 of 10, more than "
    )
    assert first.details == ("train_annotation/8.png (8 x 8, train/8.jpg 40 x 32)",)
    assert second.message.startswith(
        "train: masks that cannot be read, left out with their photos: 1 of 10, more than "
    )
    assert second.details[0].startswith("train_annotation/9.png is a colour picture, (1, 2, 3) in column 0 of row 0: ")


def test_a_bad_label_map_is_reported_as_in_training(tmp_path: Path) -> None:
    both_masks(tmp_path, [mask(0, 1)], [mask(0, 1)])
    write(tmp_path / "label_map" / "train_label_map.json", "[]")
    first, *_ = messages_in(SS, tmp_path)
    assert "label_map/train_label_map.json must be an object with the single key `map` or `scale`" in first
    assert first.startswith("!")


def mask_with_counts(counts: dict[int, int]) -> bytes:
    """Return a mask of class 0 with this many pixels of each other value."""
    image = Image.new("L", SIZE, 0)
    pixels = [value for value, count in counts.items() for _ in range(count)]
    for index, value in enumerate(pixels):
        image.putpixel((index, 0), value)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# --- arbitrary channels -----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["annotations", "class_id", "left", "top", "width", "height", "a"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=10)
@given(st.text(alphabet=st.sampled_from("01\t\n.-x é\0/\\"), max_size=40), JSON, st.binary(max_size=40), st.binary())
def test_any_list_annotation_mask_or_record_gives_a_report(
    listing: str, document: object, data: bytes, rec: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        both_lst(root / IC, [0, 1], [0, 1])
        write(root / IC / "train_lst" / "train.lst", listing)
        both_boxes(root / OD, [[(0, *BOX)]] * 2, [[(0, *BOX)]])
        write(root / OD / "train_annotation" / "0.json", json.dumps(document))
        both_masks(root / SS, [mask(0, 1)] * 2, [mask(0, 1)])
        write(root / SS / "train_annotation" / "0.png", data)
        write(root / SS / "label_map" / "validation_label_map.json", json.dumps(document))
        write(root / "rec" / "train" / "train.rec", recordio.pack_image([2.0, 5.0], 0, data) + rec)
        write(root / "rec" / "validation" / "validation.rec", rec)
        for name, place in ((IC, IC), (OD, OD), (SS, SS), (IC, "rec"), (OD, "rec")):
            assert all(isinstance(finding.message, str) for finding in findings_in(name, root / place))
            report.inspect(name, root / place, root, inspection_settings.defaults(name))
