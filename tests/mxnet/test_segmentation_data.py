"""Channels of semantic-segmentation: network inputs, label maps, bad data, memory, errors, and real photos."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from tests.mxnet import segmentation
from tests.mxnet.batches import log_lines
from tests.mxnet.segmentation import patches, photo_of, wrong_share
from tests.photos import encode
from train.data import channels, samples
from train.errors import UserError
from train.semantic_segmentation import data
from train.semantic_segmentation.hyperparameters import Hyperparameters

SETS = ("train", "validation")


def hyperparameters(**changes: Any) -> Hyperparameters:
    """Return the checked hyperparameters of a small job."""
    return segmentation.hyperparameters(**{"mini_batch_size": 4, "base_size": 128, "crop_size": 90, **changes})


def load(base: Path, **changes: Any) -> data.Data:
    """Load the channels under `base`."""
    return data.load(channels.load(base / "input"), hyperparameters(**changes))


def png(pixels: np.ndarray) -> bytes:
    """Return pixels as a PNG file."""
    return encode(Image.fromarray(pixels), "PNG")


def jpeg(mask: np.ndarray, orientation: int = 1) -> bytes:
    """Return the photo of a mask as a JPEG with an EXIF orientation. The stored pixels are not rotated."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(Image.fromarray(photo_of(mask)), exif=exif)


def put(base: Path, channel: str, name: str, photo: bytes | None, mask: bytes | None) -> None:
    """Write a photo and its mask. None omits one of them."""
    for folder, file, content in ((channel, Path(name), photo), (f"{channel}_annotation", Path(name), mask)):
        path = base / "input" / "data" / folder / (file if folder == channel else file.with_suffix(".png"))
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def add(base: Path, name: str, text: str) -> None:
    """Write a text file into the channels."""
    path = base / "input" / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_scenes(base: Path) -> Path:
    """Write channels with 8 and 4 photos of 160 x 120 pixels and their masks."""
    rng = np.random.default_rng(0)
    for channel, count in zip(SETS, (8, 4), strict=True):
        for index in range(count):
            mask = patches(rng, 160, 120)
            put(base, channel, f"{index}.jpg", jpeg(mask), png(mask))
    return base


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Channels with 8 and 4 photos and their masks."""
    return write_scenes(tmp_path)


def add_awkward_photos(base: Path) -> None:
    """Add eight photos to the validation channel: strips, and large, tiny, grey, rotated and CMYK photos."""
    rng = np.random.default_rng(5)
    sizes = {"wide": (301, 77), "high": (59, 222), "tiny": (1, 1), "strip": (1, 3000), "large": (1201, 801)}
    for name, (width, height) in sizes.items():
        mask = patches(rng, width, height)
        put(base, "validation", f"{name}.jpg", jpeg(mask), png(mask))
    mask = patches(rng, 150, 101)
    put(base, "validation", "grey.png", png(photo_of(mask)[..., 0]), png(mask))
    put(base, "validation", "turned.jpg", jpeg(mask, 6), png(mask))
    put(base, "validation", "cmyk.jpg", encode(Image.fromarray(photo_of(mask)).convert("CMYK")), png(mask))


# ---- reading ----------------------------------------------------------------------------------------------------


def test_batches_hold_photos_and_labels_and_depend_only_on_the_seed(scenes: Path) -> None:
    batches = load(scenes).train_batches(hyperparameters())
    first, again, second = (next(iter(batches.epoch(number))) for number in (0, 0, 1))
    assert len(batches) == 2
    assert [part.shape for part in first] == [(4, 3, 96, 96), (4, 96, 96)]
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in first)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], second[0])
    assert {0, 1, 2} <= set(np.unique(first[1])) <= {-1, 0, 1, 2}


@pytest.mark.parametrize("mini_batch", [1, 4])
def test_whole_validation_photos_match_the_servers_inputs_bit_for_bit(mini_batch: int, scenes: Path) -> None:
    add_awkward_photos(scenes)
    loaded = load(scenes, validation_mini_batch_size=mini_batch)
    spec = loaded.spec
    assert len(loaded.validation) == 12
    assert (spec.rule, spec.height, spec.width, spec.resize) == ("pad", 128, 128, 128)
    for index, sample in enumerate(loaded.validation):
        tensor = loaded.whole_tensor(index)
        assert tensor.shape == (3, 128, 128)
        np.testing.assert_array_equal(tensor, preprocess.load(sample.read(), spec), sample.name)


@pytest.mark.parametrize("mini_batch", [1, 4])
def test_validation_masks_have_the_upright_photos_sizes_and_match_them(mini_batch: int, scenes: Path) -> None:
    add_awkward_photos(scenes)
    loaded = load(scenes, validation_mini_batch_size=mini_batch)
    for index, sample in enumerate(loaded.validation):
        upright, mask = preprocess.decode(sample.read()), loaded.mask(index)
        assert mask.shape == (upright.height, upright.width), sample.name
        if sample.name != "cmyk.jpg":  # CMYK changes the grey levels
            assert wrong_share(np.asarray(upright), mask) < 0.02, sample.name


def pixels(tensor: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Convert a normalised tensor (3, H, W) back into a photo (H, W, 3)."""
    mean, std = np.array(spec.mean)[:, None, None], np.array(spec.std)[:, None, None]
    return np.rint((tensor * std + mean) * 255).transpose(1, 2, 0)


@pytest.mark.parametrize("mini_batch", [1, 4])
def test_validation_crops_are_the_centres_of_photos_and_masks(mini_batch: int, scenes: Path) -> None:
    middle, large = np.zeros((120, 360), np.uint8), patches(np.random.default_rng(2), 1000, 801)
    middle[:, 120:240] = 1
    put(scenes, "validation", "middle.jpg", jpeg(middle), png(middle))
    put(scenes, "validation", "large.jpg", jpeg(large), png(large))
    loaded = load(scenes, validation_mini_batch_size=mini_batch)
    for index, sample in enumerate(loaded.validation):
        tensor, mask = loaded.crop_tensor(index), loaded.crop_mask(index)
        assert (tensor.shape, tensor.dtype) == ((3, 96, 96), np.float32)
        assert (mask.shape, mask.dtype) == ((96, 96), np.uint8)
        assert wrong_share(pixels(tensor, loaded.spec), mask) < 0.03, sample.name
        if sample.name == "middle.jpg":
            assert mask[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [1] * 4, "the square in the middle"


@pytest.mark.parametrize("name", ["w_fine.jpg", "x_fine.png", "y_large.jpg", "z_other.png"])
def test_large_photos_are_cached_at_the_size_that_training_needs_with_masks_of_that_size(
    name: str, large: data.Data
) -> None:
    index = [sample.name for sample in large.train].index(name)
    assert large.photos[index].shape == (192, 256, 3)
    assert large.labels[index].shape == (192, 256)
    if "fine" not in name:
        assert wrong_share(large.photos[index], large.labels[index]) < 0.02


def test_decoding_a_jpeg_at_a_smaller_size_loses_no_visible_detail(large: data.Data) -> None:
    names = [sample.name for sample in large.train]
    decoded, reduced = (large.photos[names.index(name)] for name in ("w_fine.jpg", "x_fine.png"))
    assert np.abs(decoded.astype(float) - reduced).mean() < 4


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> data.Data:
    """The data loaded from a channel with photos of 1600 x 1200 pixels: fine stripes and patches, as JPEG and PNG."""
    base, mask = write_scenes(tmp_path_factory.mktemp("large")), patches(np.random.default_rng(3), 1600, 1200)
    stripes = 100 * (np.arange(1600) // 12 % 2)  # visible at a width of 256 pixels, but not at 200
    fine = Image.fromarray(np.broadcast_to(stripes[None, :, None], (1200, 1600, 3)).astype(np.uint8))
    put(base, "train", "w_fine.jpg", encode(fine), png(mask))
    put(base, "train", "x_fine.png", encode(fine, "PNG"), png(mask))
    put(base, "train", "y_large.jpg", jpeg(mask), png(mask))
    put(base, "train", "z_other.png", png(photo_of(mask)), png(mask))
    return load(base)


def test_photos_that_do_not_fit_into_memory_are_read_again(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_awkward_photos(scenes)
    hp = hyperparameters(validation_mini_batch_size=1)
    kept = load(scenes, validation_mini_batch_size=1)
    monkeypatch.setattr(samples, "memory_budget", lambda: 0)
    read = load(scenes, validation_mini_batch_size=1)
    for a, b in zip(*(next(iter(loaded.train_batches(hp).epoch(0))) for loaded in (kept, read)), strict=True):
        np.testing.assert_array_equal(a, b)
    for index in range(len(kept.validation)):
        np.testing.assert_array_equal(kept.mask(index), read.mask(index))
        np.testing.assert_array_equal(kept.crop_tensor(index), read.crop_tensor(index))
        np.testing.assert_array_equal(kept.crop_mask(index), read.crop_mask(index))


def test_a_photo_and_its_mask_may_have_the_same_bytes(scenes: Path) -> None:
    shutil.rmtree(scenes / "input" / "data" / "train")
    shutil.rmtree(scenes / "input" / "data" / "train_annotation")
    black, mask = png(np.zeros((120, 160), np.uint8)), patches(np.random.default_rng(0), 160, 120)
    put(scenes, "train", "a.png", black, black)
    put(scenes, "train", "b.png", png(photo_of(mask)), png(mask))
    assert len(load(scenes, mini_batch_size=2).train) == 2


# ---- label maps -------------------------------------------------------------------------------------------------


def renumber(base: Path, channel: str, values: list[int]) -> None:
    """Change the pixel values in the masks of a channel: class i becomes values[i]."""
    for path in (base / "input" / "data" / f"{channel}_annotation").glob("*.png"):
        path.write_bytes(png(np.array(values, np.uint8)[np.asarray(Image.open(path))]))


def test_label_maps_map_different_pixel_values_to_the_same_classes(scenes: Path, tmp_path: Path) -> None:
    mapped = write_scenes(tmp_path / "mapped")
    renumber(mapped, "train", [7, 4, 250])
    renumber(mapped, "validation", [2, 3, 8])
    add(mapped, "label_map/train_label_map.json", json.dumps({"map": {"0": 7, "1": [3, 4], "2": "250"}}))
    add(mapped, "label_map/validation_label_map.json", json.dumps({"scale": "3"}))
    add(mapped, "label_map/classes.txt", "sky\nsea\nland\n")
    plain = load(scenes, validation_mini_batch_size=1)
    with log_lines() as lines:
        loaded = load(mapped, validation_mini_batch_size=1)
    assert "#label_map train :{'map': {'0': 7, '1': [3, 4], '2': '250'}}" in lines
    assert "#label_map validation :{'scale': '3'}" in lines
    assert list(loaded.class_names) == ["sky", "sea", "land"]
    for index in range(4):
        np.testing.assert_array_equal(loaded.mask(index), plain.mask(index))
    first, second = (next(iter(either.train_batches(hyperparameters()).epoch(0))) for either in (plain, loaded))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_missing_label_maps_are_logged_as_in_the_built_in(scenes: Path) -> None:
    with log_lines() as lines:
        load(scenes)
    assert lines.count("#label_map train :{'scale': 1}") == 1
    assert lines.count("#label_map validation :{'scale': 1}") == 1
    assert any(line.startswith("No train_label_map.json") for line in lines)


# ---- bad data ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[data.Data, list[str]]:
    """The data loaded from a training channel with every kind of bad data, and the log lines."""
    base, rng = write_scenes(tmp_path_factory.mktemp("dirty")), np.random.default_rng(9)
    turned, upright, grey, colour, deep, other = (patches(rng, 160, 120) for _ in range(6))
    border = grey.copy()
    border[:5] = 255
    noise = rng.integers(0, 3, (120, 160)).astype(np.uint8)
    for name, photo, mask in (
        ("a_turned.jpg", jpeg(turned, 6), png(turned)),
        ("b_upright.jpg", jpeg(upright, 6), png(np.rot90(upright, -1))),
        ("c_grey.png", png(photo_of(grey)[..., 0]), png(border)),
        ("d_colour_mask.jpg", jpeg(colour), png(np.dstack([colour] * 3))),
        ("sub/e_deep.jpg", jpeg(deep), None),
        ("e_deep.jpg", None, png(deep)),
        ("f_truncated.jpg", jpeg(other)[:300], png(other)),
        ("g_colours.jpg", jpeg(other), png(np.dstack([other * 100, other * 50, other]))),
        ("h_broken_mask.jpg", jpeg(other), png(noise)[:900]),
        ("i_other_size.jpg", jpeg(other), png(patches(rng, 80, 60))),
        ("w_no_mask.jpg", jpeg(other), None),
        ("x_alone.jpg", None, png(other)),
        ("z_no_mask.jpg", jpeg(other), None),
    ):
        put(base, "train", name, photo, mask)
    with log_lines() as lines:
        loaded = load(base, unreadable_tolerance=0.2, num_classes=4)
    return loaded, lines


def test_usable_photos_are_kept(dirty: tuple[data.Data, list[str]]) -> None:
    usable = ["a_turned.jpg", "b_upright.jpg", "c_grey.png", "d_colour_mask.jpg", "sub/e_deep.jpg"]
    assert sorted(sample.name for sample in dirty[0].train) == [*(f"{index}.jpg" for index in range(8)), *usable]


def test_masks_match_their_photos_and_are_rotated_with_them_if_needed(dirty: tuple[data.Data, list[str]]) -> None:
    loaded, _ = dirty
    for index, sample in enumerate(loaded.train):
        assert wrong_share(loaded.photos[index], loaded.labels[index]) < 0.03, sample.name


@pytest.mark.parametrize(
    "line",
    [
        "masks of train_annotation without an image, left out: 1 (x_alone.png)",
        "images of train without a mask, left out: 2 (w_no_mask.jpg, z_no_mask.jpg)",
        "1 of 17 train images cannot be read (left out)",
        "f_truncated.jpg is left out because it is truncated (300 bytes arrived)",
        "2 of 16 train_annotation images cannot be read (left out)",
        "train_annotation masks that are colour pictures with R = G = B, read as class ids: 1 (d_colour_mask.png)",
        "train masks whose size differs from their image, left out: 1 "
        "(i_other_size.png (80 x 60, i_other_size.jpg 160 x 120))",
        "num_training_samples=8, but there are 13 readable training images: "
        "the learning-rate schedule uses the number of images",
        "no training mask has the label 3: num_classes=4 may be too high",
        "pixels with the value 255 in the train masks are ignored: if 255 is a class, provide a channel label_map "
        'with {"map": {"0": 0, "1": 255}}',
    ],
)
def test_each_kind_of_bad_data_is_counted_and_named(line: str, dirty: tuple[data.Data, list[str]]) -> None:
    assert line in dirty[1]


@pytest.mark.parametrize(
    "beginning", ["g_colours.png is left out because it is a colour", "Pixels of the train masks: class 0 "]
)
def test_colour_masks_and_the_share_of_each_class_are_logged(
    beginning: str, dirty: tuple[data.Data, list[str]]
) -> None:
    assert any(line.startswith(beginning) for line in dirty[1])


# ---- errors -----------------------------------------------------------------------------------------------------


def assert_rejected(base: Path, message: str, **changes: Any) -> None:
    """Check that loading the channels raises UserError with `message` in its text."""
    with pytest.raises(UserError, match=re.escape(message)):
        load(base, **changes)


def no_annotations(root: Path) -> None:
    shutil.rmtree(root / "train_annotation")


def no_masks(root: Path) -> None:
    for path in (root / "validation_annotation").glob("*.png"):
        path.rename(path.with_suffix(".txt"))


def masks_of_other_names(root: Path) -> None:
    for path in (root / "train_annotation").glob("*.png"):
        path.rename(path.with_name(f"{path.stem}_mask.png"))


def record_file_without_masks(root: Path) -> None:
    no_annotations(root)
    (root / "train" / "train.rec").write_bytes(b"")


def record_content_type(root: Path) -> None:
    others = ("train_annotation", "validation", "validation_annotation")
    (root.parent / "config").mkdir()
    (root.parent / "config" / "inputdataconfig.json").write_text(
        json.dumps({"train": {"ContentType": "application/x-recordio"}} | {name: {} for name in others})
    )


def two_images_of_one_name(root: Path) -> None:
    shutil.copy(root / "train_annotation" / "0.png", root / "train" / "0.png")


def one_folder_for_both_channels(root: Path) -> None:
    shutil.copytree(root / "train_annotation", root / "train" / "masks")
    shutil.rmtree(root / "train_annotation")
    (root / "train" / "photos").mkdir()
    for path in (root / "train").glob("*.jpg"):
        path.rename(root / "train" / "photos" / path.name)
    shutil.copytree(root / "train", root / "train_annotation")


def photos_that_are_heic(root: Path) -> None:
    for index in range(1, 8):
        (root / "train" / f"{index}.jpg").unlink()
        (root / "train" / f"{index}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")


def masks_that_are_bmp(root: Path) -> None:
    for path in sorted((root / "train_annotation").iterdir())[1:]:
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()


def model_channel(root: Path) -> None:
    (root / "model").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_annotations, "channel 'train_annotation' is missing"),
        (
            no_masks,
            "channel 'validation_annotation' has no .png mask but must have one for each image of 'validation': it "
            "holds 0.txt",
        ),
        (
            masks_of_other_names,
            "no mask of 'train_annotation' belongs to an image of 'train': 0_mask.png needs an image with its base "
            "name, such as 0_mask.jpg; 'train' holds 0.jpg, 1.jpg",
        ),
        (record_content_type, "channel 'train' is RecordIO, which semantic-segmentation does not support"),
        (record_file_without_masks, "channel 'train' is RecordIO, which semantic-segmentation does not support"),
        (
            two_images_of_one_name,
            "0.png could belong to 0.jpg or 0.png, which have the same base name: leave one of them in",
        ),
        (
            one_folder_for_both_channels,
            "train/masks/0.png and train_annotation/masks/0.png are the same file: 'train' must hold photos",
        ),
        (photos_that_are_heic, "7 of 8 train images cannot be read, more than unreadable_tolerance=0.05 allows"),
        (
            masks_that_are_bmp,
            "7 of 8 train_annotation images cannot be read, more than unreadable_tolerance=0.05 allows",
        ),
        (model_channel, "channel 'model' (incremental training) is not supported yet"),
    ],
)
def test_missing_or_wrong_files_are_rejected_with_the_fix(
    spoil: Callable[[Path], None], message: str, scenes: Path
) -> None:
    spoil(scenes / "input" / "data")
    assert_rejected(scenes, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_classes": 2},
            "train_annotation/0.png has pixels with the value 2, but num_classes=2 has the classes 0 to 1 (255 is "
            "ignored): set num_classes=3, or provide a channel label_map",
        ),
        ({"mini_batch_size": 9}, "8 readable training images, mini_batch_size=9; lower it"),
    ],
)
def test_hyperparameters_that_contradict_the_data_are_rejected(
    changes: dict[str, int], message: str, scenes: Path
) -> None:
    assert_rejected(scenes, message, **changes)


def test_a_validation_mask_with_an_unknown_class_is_rejected(scenes: Path) -> None:
    put(scenes, "validation", "1.jpg", None, png(np.full((120, 160), 9, np.uint8)))
    assert_rejected(scenes, "validation_annotation/1.png has pixels with the value 9")


def test_a_number_of_class_names_other_than_num_classes_is_rejected(scenes: Path) -> None:
    add(scenes, "train_annotation/classes.txt", "a\nb\n")
    assert_rejected(scenes, "train_annotation/classes.txt names 2 classes but num_classes=3")


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        (
            '{"map": {"0": 1, "1": 2}}',
            "train_annotation/0.png has pixels with the value 0, which is not in train_label_map.json",
        ),
        ("{map: 1}", "label_map/train_label_map.json is not JSON"),
    ],
)
def test_an_unsuitable_label_map_is_rejected(label_map: str, message: str, scenes: Path) -> None:
    add(scenes, "label_map/train_label_map.json", label_map)
    assert_rejected(scenes, message)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        pytest.param(
            np.zeros((10, 10), np.uint8),
            "8 of 8 train masks do not have the size of their image, more than unreadable_tolerance=0.05 allows:",
            id="another size",
        ),
        pytest.param(
            np.dstack([np.full((120, 160), value, np.uint8) for value in (1, 2, 3)]),
            "8 of 8 train_annotation images cannot be read, more than unreadable_tolerance=0.05 allows",
            id="colours",
        ),
        pytest.param(
            np.full((120, 160), 255, np.uint8),
            "every pixel in the masks of 'train_annotation' is ignored",
            id="all ignored",
        ),
        pytest.param(
            np.repeat(np.uint8([[0, 255]]), 80, axis=1).repeat(120, axis=0),
            "pixels with the value 255 are ignored, and all others in the masks of 'train_annotation' are class 0: if "
            "255 is",
            id="black and white",
        ),
    ],
)
def test_masks_that_cannot_be_used_for_training_are_rejected(mask: np.ndarray, message: str, scenes: Path) -> None:
    for index in range(8):
        put(scenes, "train", f"{index}.jpg", None, png(mask))
    assert_rejected(scenes, message)


# ---- real photos ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[data.Data, list[str]]:
    """The data loaded from the real photos with their original trimaps, and the log lines."""
    base = tmp_path_factory.mktemp("pets")
    trimaps = [path for path in (pets / "annotations" / "trimaps").glob("*.png") if not path.name.startswith(".")]
    photos = {path: pets / "images" / f"{path.stem}.jpg" for path in sorted(trimaps)}
    pairs = [(path, photo) for path, photo in photos.items() if photo.exists()]
    assert len(pairs) > 500
    for number, (path, photo) in enumerate(pairs):
        put(base, SETS[number % 5 == 0], photo.name, photo.read_bytes(), path.read_bytes())
    with log_lines() as lines:
        loaded = load(base, num_classes=4, mini_batch_size=16)
    assert len(loaded.train) + len(loaded.validation) == len(pairs), lines
    return loaded, lines


def test_all_real_photos_and_trimaps_are_read_into_batches(real: tuple[data.Data, list[str]]) -> None:
    loaded, lines = real
    classes = [np.unique(labels) for _, labels in loaded.train_batches(hyperparameters(mini_batch_size=16)).epoch(0)]
    assert np.unique(np.concatenate(classes)).tolist() == [-1, 1, 2, 3]
    assert "no training mask has the label 0: num_classes=4 may be too high" in lines


def test_the_border_of_real_trimaps_is_an_eighth_of_the_pixels(real: tuple[data.Data, list[str]]) -> None:
    loaded, _ = real
    counts = sum(np.bincount(loaded.mask(i).ravel(), minlength=4) for i in range(len(loaded.validation)))
    assert counts[3] / counts.sum() == pytest.approx(0.13, abs=0.02)
