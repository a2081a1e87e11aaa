"""The data of object-detection, in the MXNet environment: targets beside GluonCV's, augmentation, channels, dirt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.framework import bodies_detection_data as bodies

Run = Callable[..., Any]


def test_targets_are_those_of_gluoncv(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.target_differences)
    assert found["matched"] > 900
    assert found["classes"] == 0
    assert found["offsets"] < 1e-4  # of logarithms divided by 0.2, in float32


def test_boxes_stay_on_their_object_through_every_augmentation(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.painted_boxes_stay_on_their_object)
    assert found["seen"] > 500
    assert found["worst"] <= 2  # pixels of 300, of which interpolation blurs the edges
    assert 0.4 < found["left"] / found["seen"] < 0.6, "flipped every other time"


def test_augmented_boxes_lie_in_the_input_with_a_positive_area(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.augmented_boxes_are_sound) == "sound"


def test_colours_change_as_far_as_ssd_changes_them_each_for_every_other_photo(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.colours)
    for name, least, most in (
        ("brightness", -32, 32),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -36, 36),
    ):
        assert found[name] == pytest.approx([least, most], rel=0.01), name
        assert found[f"{name} share"][0] == pytest.approx(0.5, abs=0.03), name
    assert found["fill"] == [[124, 116, 104]], "ImageNet's mean, which no change of colour touches"


def test_a_crop_in_a_batch_is_exactly_what_the_server_makes_of_its_pixels(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.normalised_differences) == [0, 0, 0, 0]


def test_images_with_annotations_and_records_give_the_same_samples(in_mxnet: Run, tmp_path: Path) -> None:
    found = in_mxnet(bodies.both_forms, tmp_path)
    assert found["labels"] < 1e-6
    assert found["pixels"]
    assert found["counts"] == [[8, 4], [8, 4]]
    assert found["names"] == [["cat", "dog"], ["Cat", "Dog"]], "from categories, and from classes.txt"


def test_validation_sees_what_the_server_sees(in_mxnet: Run, tmp_path: Path) -> None:
    found = in_mxnet(bodies.validation_as_served, tmp_path)
    assert found["same"]
    assert found["spec"] == ["stretch", 96, 96, 3]
    assert found["columns"] == pytest.approx(found["box"], abs=1.5)


def test_batches_have_images_and_targets_and_follow_the_seed(in_mxnet: Run, tmp_path: Path) -> None:
    found = in_mxnet(bodies.batches, tmp_path)
    count = 4 * (36 + 9 + 1)
    assert found["shapes"] == [[4, 3, 96, 96], [4, count], [4, count, 4]]
    assert found["types"] == ["float32"] * 3
    assert found["count"] == 2
    assert (found["same"], found["other"], found["finite"]) == (True, False, True)
    assert min(found["matched"]) >= 1
    assert set(found["classes"]) <= {0, 1, 2}


def test_dirt_is_mended_or_left_out_and_each_kind_is_counted_and_named(in_mxnet: Run, tmp_path: Path) -> None:
    found = in_mxnet(bodies.dirt, tmp_path)
    usable = ["a_turned.jpg", "b_grey.jpg", "c_empty.jpg", "e_boxes.jpg", "i_clear.png"]
    assert found["names"] == [*(f"{i}.jpg" for i in range(8)), *usable]
    assert [found["counts"][name] for name in usable] == [1, 1, 0, 2, 1]
    assert found["misplaced"] < 0.02, "each photo has its own boxes, and those of stored pixels are turned with it"
    assert all(shape[2] == 3 for shape in found["shapes"]), "greyscale and transparent photos are RGB"
    assert found["class names"] == ["0", "1", "2"]
    for line in (
        "annotation files without an image, left out: 1 (h_gone.json)",
        "images of train without an annotation file, left out: 1 (g_alone.jpg)",
        "1 of 15 train images cannot be read: left out",
        "train images of another size than their annotation's image_size, left out: 1 "
        "(d_other_size.jpg (160 x 120, not 320 x 240))",
        "boxes without area, dropped: 1 (train e_boxes.jpg box 0)",
        "boxes partly outside of their image, clipped: 1 (train e_boxes.jpg box 1)",
        "boxes outside of their image, dropped: 1 (train e_boxes.jpg box 2)",
        "boxes with a side that is NaN or infinite, dropped: 1 (train e_boxes.jpg box 3)",
        "1 of 13 train images without a box, kept: all of it is background",
        "num_training_samples=8, but there are 13 readable training images: "
        "the learning-rate schedule follows the former",
        "no training box has the label 2: num_classes=3 may be too high",
        "the annotations' categories are not used: they do not give each class from 0 to 2 one name",
    ):
        assert line in found["lines"], found["lines"]


def test_large_photos_are_kept_no_larger_than_the_input_needs(in_mxnet: Run, tmp_path: Path) -> None:
    assert in_mxnet(bodies.large_photos, tmp_path) == [[150, 200, 3], [100, 134, 3]]


def test_channels_that_cannot_be_trained_on_are_refused_with_the_fix(in_mxnet: Run, tmp_path: Path) -> None:
    said = in_mxnet(bodies.refusals, tmp_path)
    for case, text in {
        "fewer than a batch": "8 readable training images, mini_batch_size=9; lower it",
        "class": "json, annotation 0 has the class 1: classes are whole numbers from 0 to 0 (num_classes=1)",
        "image sizes": "8 of 8 train images differ in size from their annotation's image_size, more than "
        "unreadable_tolerance=0.05 allows: annotate",
        "no box": "no validation image has a box",
        "names": "train_annotation/classes.txt names 3 classes and num_classes=2",
        "no annotations": "channel 'train_annotation' is missing",
    }.items():
        assert text in said[case], said[case]


def test_real_photos_are_all_read_and_each_augmented_one_has_anchors(in_mxnet: Run, pets: Path, tmp_path: Path) -> None:
    found = in_mxnet(bodies.real_photos, pets, tmp_path)
    assert found["given"] > 250
    assert found["read"] == found["given"], found["lines"]
    assert found["least"] >= 1
