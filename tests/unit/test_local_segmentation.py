"""Semantic segmentation in `local`: trimaps that stay on their pixels, channels, and metrics checked by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from local import __main__ as program
from local.algorithms import semantic_segmentation
from local.algorithms.semantic_segmentation import ALGORITHM as algorithm
from local.algorithms.semantic_segmentation import Prediction, Truth
from local.commands import prepare
from local.datasets.layouts.pets import reader as official
from local.errors import CommandFailed
from serve.artifact import InputSpec
from serve.tasks import segmentation
from serve.tasks.forms import Prediction as Served
from serve.tasks.masks import PALETTE, png
from tests.unit.official import HEAD, Pets, as_stored, encode, exif_rotated, picture
from train.semantic_segmentation import masks

PET, BACKGROUND, BORDER = 1, 2, 3
COLOURS = [tuple(PALETTE[3 * label : 3 * label + 3]) for label in range(3)]


def trimap() -> Image.Image:
    """Return the trimap of `picture()`: the red HEAD is the pet, with a border of 3 pixels around it."""
    left, top, right, bottom = HEAD
    image = Image.new("L", (64, 48), BACKGROUND)
    image.paste(BORDER, (left - 3, top - 3, right + 3, bottom + 3))
    image.paste(PET, HEAD)
    return image


@pytest.fixture
def segmented(tmp_path: Path) -> Pets:
    """Clean photos with trimaps: six of a cat and four of a dog in trainval.txt, two of each in test.txt."""
    data = Pets(tmp_path / "pets")
    for number in range(1, 7):
        data.add(f"Bengal_{number}", encode(picture()), trimap=encode(trimap(), "PNG"))
    for number in range(1, 5):
        data.add(f"pug_{number}", encode(picture()), trimap=encode(trimap(), "PNG"))
    for number in (7, 8):
        data.add(f"Bengal_{number}", encode(picture()), trimap=encode(trimap(), "PNG"), split="test")
        data.add(f"pug_{number}", encode(picture()), trimap=encode(trimap(), "PNG"), split="test")
    return data


def run(data: Pets, out: Path, *options: object) -> int:
    arguments = ["prepare", "semantic-segmentation", "--data", data.root, "--out", out, *options]
    return program.main([str(argument) for argument in arguments])


def stems(folder: Path, kind: str) -> set[str]:
    return {file.stem for file in folder.glob(f"*{kind}")}


def mask_of(out: Path, name: str) -> np.ndarray:
    """Return the class ids of the mask of a photo in either channel."""
    truths = {
        photo.stem: truth for channel in ("train", "validation") for photo, truth in algorithm.photos(out, channel)
    }
    return truths[name].mask


# --- channels ---------------------------------------------------------------------------------------------------------


def test_photos_and_trimaps_are_copied_into_four_channels_by_the_official_split(
    segmented: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "channels"
    assert run(segmented, out) == 0
    assert sorted(folder.name for folder in out.iterdir() if folder.is_dir()) == [
        "train",
        "train_annotation",
        "validation",
        "validation_annotation",
    ]
    for channel, count in (("train", 10), ("validation", 4)):
        assert stems(out / f"{channel}_annotation", ".png") == stems(out / channel, ".jpg")
        assert len(stems(out / channel, ".jpg")) == count
    assert (out / "train" / "pug_1.jpg").read_bytes() == encode(picture())
    assert (out / "train_annotation" / "pug_1.png").read_bytes() == encode(trimap(), "PNG")
    assert (out / "train_annotation" / "classes.txt").read_text() == "unused\npet\nbackground\nborder\n"
    assert np.array_equal(mask_of(out, "pug_1"), np.asarray(trimap())), "pixels are the class ids"
    assert capsys.readouterr().out.splitlines()[-1] == "Set num_classes=4 num_training_samples=10"


def test_classes_pet_adds_a_label_map_that_gives_training_three_named_classes(
    segmented: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "channels"
    assert run(segmented, out, "--classes", "pet") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Set num_classes=3 num_training_samples=10"
    assert (out / "train_annotation" / "classes.txt").read_text() == "pet\nbackground\nborder\n"
    assert (out / "train_annotation" / "pug_1.png").read_bytes() == encode(trimap(), "PNG")
    for channel in ("train", "validation"):
        data = (out / "label_map" / f"{channel}_label_map.json").read_bytes()
        assert json.loads(data) == {"map": {"0": 1, "1": 2, "2": 3}}
        trained = masks.parse_map(data, "label_map.json", 3).apply(np.asarray(trimap()))
        assert np.array_equal(trained, mask_of(out, "pug_1" if channel == "train" else "pug_7"))
        assert set(np.unique(trained)) == {0, 1, 2}


def test_a_random_split_divides_all_photos_that_have_a_trimap(segmented: Pets, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    assert run(segmented, out, "--split", "random", "--validation", "0.5", "--seed", "3") == 0
    chosen = [stems(out / channel, ".jpg") for channel in ("train", "validation")]
    assert [len(names) for names in chosen] == [7, 7]
    assert not chosen[0] & chosen[1]
    assert "pug_900" not in chosen[0] | chosen[1]


@pytest.mark.parametrize(
    ("option", "value", "offered"),
    [("--format", "recordio", "image"), ("--classes", "breed", "trimap or pet"), ("--classes", "species", "trimap")],
)
def test_options_that_masks_do_not_support_are_rejected_in_one_line(
    segmented: Pets, tmp_path: Path, option: str, value: str, offered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(segmented, tmp_path / "channels", option, value) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{option} {value} is not supported by semantic-segmentation: use {offered}" in line
    assert not (tmp_path / "channels").exists()


def test_other_algorithms_reject_the_classes_of_trimaps(
    segmented: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "prepare",
        "image-classification",
        "--data",
        segmented.root,
        "--out",
        tmp_path / "out",
        "--classes",
        "pet",
    ]
    assert program.main([str(argument) for argument in arguments]) == 2
    assert "--classes pet is not supported by image-classification: use breed or species" in capsys.readouterr().err


def test_a_data_set_without_trimaps_is_rejected_with_what_is_missing(
    segmented: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (segmented.root / "annotations" / "trimaps").iterdir():
        file.unlink()
    assert run(segmented, tmp_path / "channels") == 2
    assert "annotations/trimaps has no trimap for any photo" in capsys.readouterr().err


@pytest.mark.parametrize("classes", ["trimap", "pet"])
def test_a_class_without_training_pixels_is_listed(
    segmented: Pets, tmp_path: Path, classes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (segmented.root / "annotations" / "trimaps").iterdir():
        file.write_bytes(encode(trimap().point(lambda pixel: BACKGROUND if pixel == BORDER else pixel), "PNG"))
    assert run(segmented, tmp_path / "channels", "--classes", classes) == 0
    assert "classes without a training photo with pixels: 1 (border)" in capsys.readouterr().out


# --- EXIF, other formats and bad trimaps ------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size_of", ["stored", "upright"])
def test_a_trimap_stays_on_the_same_pixels_if_exif_rotates_the_photo(
    segmented: Pets, tmp_path: Path, orientation: int, size_of: str
) -> None:
    upright = size_of == "upright" and orientation >= 5
    drawn = trimap() if upright else as_stored(trimap(), orientation)
    segmented.add("Bengal_20", exif_rotated(picture(), orientation), trimap=encode(drawn, "PNG"))
    run(segmented, tmp_path / "channels")
    with Image.open(tmp_path / "channels" / "train" / "Bengal_20.jpg") as photo:
        assert photo.getexif().get(0x0112, 1) == 1
        pixels = np.asarray(photo).astype(int)
    mask = mask_of(tmp_path / "channels", "Bengal_20")
    assert np.array_equal(mask, np.asarray(trimap()))
    assert np.mean((pixels[..., 0] > pixels[..., 2]) == (mask == PET)) > 0.98


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_a_photo_reencoded_as_jpeg_keeps_its_trimap(segmented: Pets, tmp_path: Path, form: str) -> None:
    segmented.add("Bengal_20", encode(picture(), form), trimap=encode(trimap(), "PNG"))
    run(segmented, tmp_path / "channels")
    with Image.open(tmp_path / "channels" / "train" / "Bengal_20.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (64, 48))
    assert (tmp_path / "channels" / "train_annotation" / "Bengal_20.png").read_bytes() == encode(trimap(), "PNG")


def test_a_trimap_saved_as_rgb_is_converted_to_one_channel_and_counted(
    segmented: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmented.add("Bengal_20", encode(picture()), trimap=encode(Image.merge("RGB", [trimap()] * 3), "PNG"))
    run(segmented, tmp_path / "channels")
    with Image.open(tmp_path / "channels" / "train_annotation" / "Bengal_20.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), np.asarray(trimap()))
    assert "masks saved as colour pictures, converted to one channel: 1 (Bengal_20.png)" in capsys.readouterr().out


def test_photos_with_unusable_trimaps_are_skipped_counted_and_listed(
    segmented: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    valid = encode(trimap(), "PNG")
    unusable = {
        20: encode(trimap().resize((32, 24)), "PNG"),
        21: encode(trimap().point(lambda pixel: 7 * pixel), "PNG"),
        22: valid[: len(valid) // 2],
        23: None,
        24: encode(picture(), "PNG"),
        25: encode(trimap()),
    }
    for number, file in unusable.items():
        segmented.add(f"Bengal_{number}", encode(picture()), trimap=file)
    segmented.add("Bengal_26", None, trimap=valid)
    assert run(segmented, tmp_path / "channels") == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "photos that have no trimap, left out: 2 (Bengal_23.jpg, pug_900.jpg)"
    assert lines[1] == "listed photos that cannot be read, skipped: 1 (Bengal_26.jpg does not exist)"
    assert lines[2].startswith("photos whose annotations cannot be used, skipped: 5 (")
    for reason in (
        "Bengal_20.png has 32 x 24 pixels, but Bengal_20.jpg has 64 x 48",
        "Bengal_21.png has pixels with 7, 14, 21: a trimap has only 1 (pet), 2 (background) and 3 (border)",
        "Bengal_22.png is truncated",
        "Bengal_24.png is a colour picture",
        "Bengal_25.png is not a PNG",
    ):
        assert reason in lines[2]
    assert lines[3] == "10 training photos, 4 validation photos, 4 classes"


def test_a_majority_of_unusable_masks_is_rejected_with_the_first_one_and_the_count(
    segmented: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20, 40):
        segmented.add(f"Bengal_{number}", encode(picture()), trimap=encode(trimap().resize((32, 24)), "PNG"))
    assert run(segmented, tmp_path / "channels") == 2
    assert ".png has 32 x 24 pixels, but" in (stderr := capsys.readouterr().err)
    assert "(20 photos of 34 below" in stderr
    assert not (tmp_path / "channels").exists()


def test_only_photos_with_trimaps_of_the_real_subset_are_used(pets: Path, tmp_path: Path) -> None:
    data = official.segmentation(pets, "pet")
    train, validation = prepare.split(data)
    summary = prepare.write_channels(data, train, validation, tmp_path / "channels", name="semantic-segmentation")
    assert summary.class_names == ("pet", "background", "border")
    assert summary.counts == {"train": 300, "validation": 208}
    assert summary.files[prepare.UNUSED] == ["Abyssinian_34.jpg", "Abyssinian_82.jpg"]
    shares = np.mean(
        [
            np.bincount(truth.mask.ravel(), minlength=3) / truth.mask.size
            for _, truth in algorithm.photos(tmp_path / "channels", "train")
        ],
        axis=0,
    )
    assert shares[2] == pytest.approx(0.13, abs=0.01), "the border's share"


# --- predictions ------------------------------------------------------------------------------------------------------


def predict(true: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]], classes: int = 3) -> Prediction:
    """Return the prediction for a true mask and a predicted mask of class ids."""
    truth = Truth(encode(Image.fromarray(np.array(true, np.uint8)), "PNG"), tuple(range(classes)))
    return algorithm.parse_response(Path("photo.jpg"), truth, png(np.array(predicted, np.uint8)))


def test_pixels_are_counted_by_true_and_predicted_class_except_for_ignored_ones() -> None:
    prediction = predict([[0, 0, 1], [2, 255, 1]], [[0, 1, 1], [2, 2, 0]])
    assert prediction.counts.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_the_last_line_is_the_mean_iou_over_the_classes_that_occur() -> None:
    # Class 0: 3 of 5 pixels (2 + 1 of both masks), class 1: 3 of 5; class 2 occurs in neither.
    predictions = [predict([[0, 0], [0, 1]], [[0, 0], [1, 1]]), predict([[0, 1], [1, 1]], [[0, 0], [1, 1]])]
    assert algorithm.summary_line(predictions) == "mIOU 0.60 (2 classes, 2 photos)"
    counts = np.sum([prediction.counts for prediction in predictions], axis=0)
    assert counts.tolist() == [[3, 1, 0], [1, 3, 0], [0, 0, 0]]


def test_a_class_that_is_only_predicted_lowers_the_others_and_is_not_counted() -> None:
    assert algorithm.summary_line([predict([[0, 0, 0, 0]], [[0, 0, 0, 2]])]) == "mIOU 0.75 (1 class, 1 photo)"


def test_the_table_has_a_line_per_class_and_the_pixel_accuracy() -> None:
    lines = algorithm.table([predict([[0, 0, 0, 1]], [[0, 0, 1, 1]])], ["pet", "background", "border"]).splitlines()
    assert [line.split() for line in lines] == [
        ["class", "IoU", "true", "pixels", "predicted", "pixels"],
        ["pet", "0.67", "75.0", "%", "50.0", "%"],
        ["background", "0.50", "25.0", "%", "50.0", "%"],
        ["border", "-", "0.0", "%", "0.0", "%"],
        ["pixel", "accuracy", "0.75"],
    ]


def mask(*pixels: int) -> bytes:
    """Return a mask that is two pixels wide, as the endpoint sends it."""
    return png(np.reshape(np.array(pixels, np.uint8), (-1, 2)))


@pytest.mark.parametrize(
    "response",
    [b"", b'{"prediction": []}', mask(0, 1), mask(0, 1, 2, 3), mask(0, 1, 2, 0)[:60], b"\xff\xd8\xff"],
    ids=["empty", "JSON", "another size", "unknown class", "truncated", "JPEG"],
)
def test_an_unexpected_response_gives_an_error_with_the_photo_and_the_expected_mask(response: bytes) -> None:
    truth = Truth(encode(Image.new("L", (2, 2)), "PNG"), (0, 1, 2))
    with pytest.raises(CommandFailed) as caught:
        algorithm.parse_response(Path("pug_1.jpg"), truth, response)
    assert str(caught.value).startswith("pug_1.jpg: the endpoint returned ")
    assert str(caught.value).endswith("expected a PNG mask of 2 x 2 pixels with class ids below 3")


def test_the_sheet_shows_twenty_photos_with_truth_and_prediction_in_the_endpoints_colours(tmp_path: Path) -> None:
    Image.new("RGB", (300, 150), (128, 128, 128)).save(tmp_path / "photo.jpg", quality=95)
    true, predicted = np.zeros((2, 150, 300), np.uint8)
    true[:, 150:], predicted[:, 150:] = 1, 2
    truth = Truth(encode(Image.fromarray(true), "PNG"), (0, 1, 2))
    prediction = algorithm.parse_response(tmp_path / "photo.jpg", truth, png(predicted))
    algorithm.sheet([prediction] * 50, ["pet", "background", "border"], tmp_path / "predictions.png")
    with Image.open(tmp_path / "predictions.png") as page:
        assert page.size == (2 * 616 + 8, 30 + 10 * 208 + 8)
        legend, card = page.crop((0, 0, 1240, 38)), page.crop((8, 38, 616, 238))
    assert {tuple(colour) for colour in np.asarray(legend).reshape(-1, 3).tolist()} >= set(COLOURS)
    # The photo of 300 x 150 is centred in squares of 200 that are 204 apart. Check a pixel on its left and right.
    for tile, colours in enumerate([(None, None), (COLOURS[0], COLOURS[1]), (COLOURS[0], COLOURS[2])]):
        for x, colour in zip((50, 150), colours, strict=True):
            shown = card.getpixel((204 * tile + x, 100))
            expected = (128, 128, 128) if colour is None else np.array(colour) * 0.65 + 128 * 0.35
            assert np.abs(np.subtract(shown, expected)).max() <= 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photo.jpg", "predictions.png"]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (401, 300)])
def test_photos_of_any_shape_and_many_classes_fit_on_the_sheet(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "photo.jpg")
    mask = Image.new("L", size)
    prediction = algorithm.parse_response(
        tmp_path / "photo.jpg", Truth(encode(mask, "PNG"), tuple(range(254))), encode(mask, "PNG")
    )
    names = [f"a_class_with_a_long_name_{number}" for number in range(254)]
    algorithm.sheet([prediction], names, tmp_path / "predictions.png")
    with Image.open(tmp_path / "predictions.png") as page:
        assert page.width == 1240


def verbose(values: np.ndarray, names: tuple[str, ...], size: tuple[int, int]) -> dict[str, object]:
    """Return the server's application/json;verbose response for logits float32 (C, 2, 2) and a photo of this size."""
    spec = InputSpec("data", 3, 16, 16, 16, "pad", (0.5,) * 3, (0.2,) * 3)
    (form,) = (form for form in segmentation.FORMS if str(form) == "application/json;verbose")
    return json.loads(form.encode(Served(values, names, *size, spec)))


def test_a_verbose_response_is_shown_as_classes_by_share_and_holds_the_mask() -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1, 1], logits[2, 0] = 9, -9
    response = verbose(logits, ("pet", "background", "border"), (32, 32))
    lines = algorithm.response_lines(response)
    assert [line.split("  ")[0] for line in lines] == ["background", "pet"]
    assert sum(float(line.split("  ")[1]) for line in lines) == pytest.approx(1, abs=0.002)
    pixels = masks.decode(semantic_segmentation.mask_of(response)).pixels
    assert pixels.shape == (32, 32)
    assert lines[0] == f"background  {np.mean(pixels == 1):.3f}"


@pytest.mark.parametrize("response", [{"predicted_label": "pug"}, {"prediction": []}, {"mask": 1}, {"classes": []}])
def test_responses_of_other_algorithms_are_not_handled(response: dict[str, object]) -> None:
    assert algorithm.response_lines(response) is None


# --- recipe -----------------------------------------------------------------------------------------------------------


@given(st.booleans(), st.integers(1, 300) | st.none(), st.integers(1, 10_000))
def test_recipes_fit_any_number_of_photos_and_train_from_scratch(drawn: bool, epochs: int | None, count: int) -> None:
    recipe = algorithm.recipe(drawn, epochs, {"num_classes": 3, "num_training_samples": count})
    assert 1 <= int(recipe["mini_batch_size"]) <= count
    assert recipe["use_pretrained_model"] == "False"
    assert "lr_scheduler_step" not in recipe
    assert recipe["validation_mini_batch_size"] == 1, "whole photos, as the endpoint gets them"
    assert algorithm.forecast(recipe, 2) < algorithm.forecast(recipe, 1)


@pytest.mark.parametrize("drawn", [True, False])
def test_training_accepts_each_recipe_unchanged(drawn: bool) -> None:
    from train.semantic_segmentation.hyperparameters import check

    recipe = algorithm.recipe(drawn, None, {"num_classes": 3, "num_training_samples": 300})
    values = check({name: str(value) for name, value in recipe.items()}).values()
    assert {name: str(values[name]) for name in recipe} == {name: str(value) for name, value in recipe.items()}
