"""The data of semantic-segmentation, in the MXNet environment: augmentation, channels, label maps, dirt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.framework import bodies_segmentation_data as bodies

Run = Callable[..., Any]

# ---- augmentation -----------------------------------------------------------------------------------------------


def test_a_mask_stays_on_its_photo_through_every_augmentation(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.masks_stay_on_their_photo)
    assert found["compared"] > 100
    assert found["wrong"] < 0.001, "away from edges, which interpolation blurs"


def test_augmented_pairs_are_whole_crops_padded_right_and_below_with_the_mean_and_ignore(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.augmented_pairs_are_sound) == "sound"


def test_the_longer_side_becomes_half_to_twice_base_size_and_every_other_photo_is_flipped(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.scales)
    assert found["least"] == 50
    assert found["most"] == 200
    assert found["mean"] == pytest.approx(125, abs=5)
    assert found["flipped"] == pytest.approx(0.5, abs=0.05)


def test_a_part_of_a_photo_is_resized_as_if_the_whole_were_with_the_servers_filter(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.resized_parts) <= 1  # of 255: rounding


def test_colours_change_by_the_factors_that_are_documented(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.colours)
    for name in ("brightness", "contrast", "saturation"):
        assert found[name] == pytest.approx([0.6, 1.4], rel=0.01), name
    assert found["mean moves"] < 1e-3, "contrast is around the photo's mean luminance"


# ---- channels ---------------------------------------------------------------------------------------------------


def test_batches_have_photos_and_labels_and_follow_the_seed(in_mxnet: Run, tmp_path: Path) -> None:
    found = in_mxnet(bodies.batches, tmp_path)
    assert found["shapes"] == [[4, 3, 96, 96], [4, 96, 96]]
    assert found["types"] == ["float32"] * 2
    assert found["count"] == 2
    assert (found["same"], found["other"], found["finite"]) == (True, False, True)
    assert set(found["labels"]) <= {-1, 0, 1, 2}
    assert {0, 1, 2} <= set(found["labels"])


@pytest.mark.parametrize("mini_batch", [1, 4])
def test_whole_validation_photos_are_bit_for_bit_what_the_server_sees(
    mini_batch: int, in_mxnet: Run, tmp_path: Path
) -> None:
    found = in_mxnet(bodies.validation_as_served, tmp_path, mini_batch)
    assert found["same"] == found["count"] == 9
    assert found["spec"] == ["pad", 128, 128, 128]
    assert found["shapes"] == [[3, 128, 128]]
    assert found["masks"] == found["upright"], "masks have the upright photos' own sizes"
    assert found["wrong"] < 0.02, "each mask lies on its photo"


@pytest.mark.parametrize("mini_batch", [1, 4])
def test_validation_crops_are_the_photos_centres_with_their_masks(
    mini_batch: int, in_mxnet: Run, tmp_path: Path
) -> None:
    found = in_mxnet(bodies.validation_crops, tmp_path, mini_batch)
    assert found["shapes"] == [[[3, 96, 96], [96, 96]]]
    assert found["types"] == ["float32", "uint8"]
    assert found["wrong"] < 0.03
    assert found["centre"] == [1, 1, 1, 1], "the square in the middle, to its corners"


def test_label_maps_of_both_sets_make_the_same_classes_of_different_pixels(in_mxnet: Run, tmp_path: Path) -> None:
    found = in_mxnet(bodies.label_maps, tmp_path)
    assert found["masks"]
    assert found["batches"]
    assert "#label_map train :{'map': {'0': 7, '1': [3, 4], '2': '250'}}" in found["lines"]
    assert "#label_map validation :{'scale': '3'}" in found["lines"]
    assert found["names"] == ["sky", "sea", "land"]


def test_without_label_maps_the_log_says_so_as_the_built_in_does(in_mxnet: Run, tmp_path: Path) -> None:
    lines = in_mxnet(bodies.plain, tmp_path)
    assert lines.count("#label_map train :{'scale': 1}") == 1
    assert lines.count("#label_map validation :{'scale': 1}") == 1
    assert any(line.startswith("No train_label_map.json") for line in lines)


def test_a_photo_may_have_the_same_bytes_as_its_mask(in_mxnet: Run, tmp_path: Path) -> None:
    assert in_mxnet(bodies.black_photo, tmp_path) == 2


def test_dirt_is_repaired_or_left_out_and_each_kind_is_counted_and_named(in_mxnet: Run, tmp_path: Path) -> None:
    found = in_mxnet(bodies.dirt, tmp_path)
    usable = ["a_turned.jpg", "b_upright.jpg", "c_grey.png", "d_colour_mask.jpg", "sub/e_deep.jpg"]
    assert found["names"] == [*(f"{i}.jpg" for i in range(8)), *usable]
    assert found["wrong"] < 0.03, "each photo has its own mask, and that of stored pixels is turned with it"
    for line in (
        "masks of train_annotation without an image, left out: 1 (x_alone.png)",
        "images of train without a mask, left out: 2 (w_no_mask.jpg, z_no_mask.jpg)",
        "1 of 17 train images cannot be read: left out",
        "f_truncated.jpg: not a readable image file, left out: it is truncated (300 bytes arrived)",
        "2 of 16 train_annotation images cannot be read: left out",
        "train_annotation masks that are colour pictures with R = G = B, read as class ids: 1 (d_colour_mask.png)",
        "train masks of another size than their image, left out: 1 "
        "(i_other_size.png (80 x 60, i_other_size.jpg 160 x 120))",
        "num_training_samples=8, but there are 13 readable training images: "
        "the learning-rate schedule follows the latter",
        "no training mask has the label 3: num_classes=4 may be too high",
        "pixels of the value 255 in the train masks are ignored: if 255 is a class, say so in the channel label_map, "
        'as in {"map": {"0": 0, "1": 255}}',
    ):
        assert line in found["lines"], found["lines"]
    assert any(
        line.startswith("g_colours.png: not a readable image file, left out: it is a colour") for line in found["lines"]
    )
    assert any(line.startswith("Pixels of the train masks: class 0 ") for line in found["lines"])


def test_large_photos_are_kept_no_larger_than_training_can_use_with_masks_of_the_same_size(
    in_mxnet: Run, tmp_path: Path
) -> None:
    found = in_mxnet(bodies.large_photos, tmp_path)
    assert found["shapes"] == [[[192, 256, 3], [192, 256]]] * 4
    assert found["unlike"] < 4, "a JPEG that is decoded at a smaller size loses nothing that training could see"
    assert found["wrong"] < 0.02


def test_what_memory_cannot_keep_is_read_again_and_the_same(in_mxnet: Run, tmp_path: Path) -> None:
    assert in_mxnet(bodies.without_memory, tmp_path) == [True, True, True]


def test_channels_that_cannot_be_trained_on_are_refused_with_the_fix(in_mxnet: Run, tmp_path: Path) -> None:
    said = in_mxnet(bodies.refusals, tmp_path)
    for case, text in {
        "no annotations": "channel 'train_annotation' is missing",
        "no masks": "channel 'validation_annotation' must hold one .png mask for each image of 'validation' and holds "
        "none: it holds 0.txt",
        "other names": "no mask of 'train_annotation' belongs to an image of 'train': 0_mask.png needs an "
        "image of its base name, such as 0_mask.jpg; 'train' holds 0.jpg, 1.jpg",
        "record": "channel 'train' is RecordIO, which semantic-segmentation does not train on",
        "rec file": "channel 'train' is RecordIO, which semantic-segmentation does not train on",
        "two images": "0.png may be of the image 0.jpg or 0.png, which have the same base name: leave one of them in",
        "one folder": "train/masks/0.png and train_annotation/masks/0.png are the same file: 'train' must hold photos",
        "class": "train_annotation/0.png has pixels of the value 2, and num_classes=2 has the classes 0 to 1 (255 is "
        "ignored): set num_classes=3, or say in the channel label_map",
        "validation class": "validation_annotation/1.png has pixels of the value 9",
        "unmapped": "train_annotation/0.png has pixels of the value 0, which train_label_map.json does not name",
        "label map": "label_map/train_label_map.json is not JSON",
        "sizes": "8 of 8 train masks differ in size from their image, more than unreadable_tolerance=0.05 allows:",
        "colours": "8 of 8 train_annotation images cannot be read, more than unreadable_tolerance=0.05 allows",
        "binary": "pixels of 255 are ignored, and all others in the masks of 'train_annotation' are class 0: if 255 is",
        "HEIC": "7 of 8 train images cannot be read, more than unreadable_tolerance=0.05 allows",
        "BMP masks": "7 of 8 train_annotation images cannot be read, more than unreadable_tolerance=0.05 allows",
        "ignored": "every pixel in the masks of 'train_annotation' is ignored",
        "names": "train_annotation/classes.txt names 2 classes and num_classes=3",
        "fewer than a batch": "8 readable training images, mini_batch_size=9; lower it",
        "model": "channel 'model' (incremental training) is not read by this version yet",
    }.items():
        assert text in said[case], (case, said[case])


def test_real_photos_and_trimaps_are_all_read_and_batched(in_mxnet: Run, pets: Path, tmp_path: Path) -> None:
    found = in_mxnet(bodies.real_photos, pets, tmp_path)
    assert found["given"] > 500
    assert found["read"] == found["given"], found["lines"]
    assert found["border"] == pytest.approx(0.13, abs=0.02)
    assert found["labels"] == [-1, 1, 2, 3]
    assert "no training mask has the label 0: num_classes=4 may be too high" in found["lines"]
