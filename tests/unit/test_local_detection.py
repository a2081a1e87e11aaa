"""Object detection in `local`: boxes that stay on their pixels, channels, and metrics checked by hand."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from local import __main__ as program
from local.algorithms import object_detection
from local.algorithms.object_detection import ALGORITHM as algorithm
from local.algorithms.object_detection import Prediction, Truth
from local.commands import prepare
from local.datasets.channels import LoadedPhoto, Summary
from local.datasets.dataset import FRACTIONS, UNKNOWN, Annotation, Entry, LabelledBox
from local.datasets.layouts.pets import reader as official
from local.errors import CommandFailed
from serve.preprocess import Frame
from tests.unit.official import HEAD, Pets, as_stored, encode, exif_rotated, picture
from train.data import recordio


def voc(*boxes: tuple[str, int, int, int, int], size: tuple[int, int] = (64, 48)) -> str:
    """Return a VOC annotation. Boxes count pixels from 1 and include both ends, as in VOC."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax>"
        f"<ymax>{ymax}</ymax></bndbox></object>"
        for name, xmin, ymin, xmax, ymax in boxes
    )
    width, height = size
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


HEAD_VOC = (11, 6, 30, 20)


@pytest.fixture
def boxed(tmp_path: Path) -> Pets:
    """Five clean photos of a cat and five of a dog, each with a box."""
    data = Pets(tmp_path / "pets")
    for number in range(1, 6):
        data.add(f"Bengal_{number}", encode(picture()), voc(("cat", *HEAD_VOC)))
        data.add(f"pug_{number}", encode(picture()), voc(("dog", *HEAD_VOC)))
    return data


def run(data: Pets, out: Path, *options: object) -> int:
    arguments = ["prepare", "object-detection", "--data", data.root, "--out", out, *options]
    return program.main([str(argument) for argument in arguments])


def all_truths(out: Path) -> dict[str, Truth]:
    photos = [*algorithm.photos(out, "train"), *algorithm.photos(out, "validation")]
    return {photo.stem: truth for photo, truth in photos}


def red_box(photo: Path) -> tuple[int, ...]:
    """Return the bounding box of the red pixels of a photo: left, top, right, bottom."""
    with Image.open(photo) as image:
        return red_box_of(image)


def red_box_of(image: Image.Image) -> tuple[int, ...]:
    """Return the same for an image as it is stored, without applying EXIF."""
    pixels = np.asarray(image).astype(int)
    rows, columns = np.nonzero(pixels[..., 0] > pixels[..., 2])
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


# --- channels ---------------------------------------------------------------------------------------------------------


def test_the_image_format_is_photos_and_the_json_of_the_built_in_algorithm(boxed: Pets, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    assert run(boxed, out) == 0
    assert sorted(folder.name for folder in out.iterdir() if folder.is_dir()) == [
        "train",
        "train_annotation",
        "validation",
        "validation_annotation",
    ]
    for channel, count in (("train", 8), ("validation", 2)):
        photos = {file.stem for file in (out / channel).glob("*.jpg")}
        assert {file.stem for file in (out / f"{channel}_annotation").glob("*.json")} == photos
        assert len(photos) == count
        assert len({name for name in photos if name.startswith("pug")}) == count / 2, "not stratified"
    (name,) = (file.stem for file in (out / "validation").glob("pug*"))
    assert (out / "validation" / f"{name}.jpg").read_bytes() == encode(picture())
    assert json.loads((out / "validation_annotation" / f"{name}.json").read_text()) == {
        "file": f"{name}.jpg",
        "image_size": [{"width": 64, "height": 48, "depth": 3}],
        "annotations": [{"class_id": 1, "left": 10, "top": 5, "width": 20, "height": 15}],
        "categories": [{"class_id": 0, "name": "cat"}, {"class_id": 1, "name": "dog"}],
    }


def test_the_recordio_format_holds_the_same_photos_and_boxes_as_fractions(boxed: Pets, tmp_path: Path) -> None:
    boxed.add("Bengal_9", encode(picture()), voc())
    images, records = tmp_path / "images", tmp_path / "records"
    run(boxed, images)
    run(boxed, records, "--format", "recordio")
    for channel in ("train", "validation"):
        assert {file.name for file in (records / channel).iterdir()} == {f"{channel}.rec", "classes.txt"}
        assert (records / channel / "classes.txt").read_text() == "cat\ndog\n"
        path = records / channel / f"{channel}.rec"
        unpacked = [recordio.unpack_image(recordio.read(path, *place)) for place in recordio.scan(path)]
        written = algorithm.photos(images, channel)
        assert len(unpacked) == len(written)
        vectors = sorted(record.labels.tolist() for record in unpacked)
        expected = sorted(
            [2.0, 5.0, *(number for label, *box in truth.boxes for number in (label, *np.divide(box, (64, 48) * 2)))]
            for _, truth in written
        )
        assert [len(vector) for vector in vectors] == [len(vector) for vector in expected]
        assert np.concatenate(vectors) == pytest.approx(np.concatenate(expected), abs=1e-6)


def test_the_same_seed_gives_the_same_split_and_other_seeds_give_others(boxed: Pets, tmp_path: Path) -> None:
    chosen = []
    for number, seed in enumerate((1, 1, 2, 3)):
        run(boxed, tmp_path / str(number), "--seed", seed)
        chosen.append(sorted(photo.name for photo, _ in algorithm.photos(tmp_path / str(number), "validation")))
    assert chosen[0] == chosen[1]
    assert len({tuple(names) for names in chosen}) > 1


def test_classes_breed_makes_the_breeds_the_classes(boxed: Pets, tmp_path: Path) -> None:
    run(boxed, tmp_path / "channels", "--classes", "breed")
    (file, *_) = (tmp_path / "channels" / "train_annotation").glob("pug*")
    annotation = json.loads(file.read_text())
    assert [category["name"] for category in annotation["categories"]] == ["Bengal", "pug"]
    assert annotation["annotations"][0]["class_id"] == 1


def test_the_official_split_is_rejected_because_its_test_photos_have_no_boxes(
    boxed: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(boxed, tmp_path / "channels", "--split", "official") == 2
    assert "has no split, such as folders train and val" in capsys.readouterr().err
    assert not (tmp_path / "channels").exists()


def test_a_data_set_without_xml_files_is_rejected_with_what_is_missing(
    boxed: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (boxed.root / "annotations" / "xmls").iterdir():
        file.unlink()
    assert run(boxed, tmp_path / "channels") == 2
    assert re.search(r"annotations/xmls has no XML file for any photo", capsys.readouterr().err)


def test_a_class_without_a_box_to_train_on_is_listed(
    boxed: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 6):
        (boxed.root / "annotations" / "xmls" / f"pug_{number}.xml").write_text(voc())
    assert run(boxed, tmp_path / "channels") == 0
    assert "classes without a training photo with a box: 1 (dog)" in capsys.readouterr().out


def test_a_data_set_without_any_box_is_rejected_and_nothing_is_written(
    boxed: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (boxed.root / "annotations" / "xmls").iterdir():
        file.write_text(voc())
    before = sorted(file.name for file in tmp_path.iterdir())
    assert run(boxed, tmp_path / "channels") == 2
    assert "no readable photo with a box of cat, dog for the train channel" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == before


# --- EXIF, other formats and bad annotations --------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size_of", ["stored", "upright"])
def test_boxes_stay_on_the_same_pixels_if_exif_rotates_the_photo(
    boxed: Pets, tmp_path: Path, orientation: int, size_of: str
) -> None:
    data = exif_rotated(picture(), orientation)
    with Image.open(io.BytesIO(data)) as stored:
        size, place = stored.size, red_box_of(stored)
    if size_of == "upright" and orientation >= 5:
        size, place = (64, 48), HEAD
    left, top, right, bottom = place
    boxed.add("Bengal_20", data, voc(("cat", left + 1, top + 1, right, bottom), size=size))
    run(boxed, tmp_path / "channels", "--validation", "0.01")
    truth = all_truths(tmp_path / "channels")["Bengal_20"]
    assert truth.size == (64, 48)
    (photo,) = (tmp_path / "channels").glob("*/Bengal_20.jpg")
    assert np.abs(np.subtract(truth.boxes[0][1:], red_box(photo))).max() <= 1
    assert np.abs(np.subtract(truth.boxes[0][1:], HEAD)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("size", [FRACTIONS, UNKNOWN])
def test_boxes_without_an_image_size_refer_to_the_stored_photo_unless_marked_upright(
    size: tuple[int, int], upright: bool, orientation: int
) -> None:
    upright_image = Image.new("L", (64, 48))
    upright_image.paste(255, HEAD)
    stored = as_stored(upright_image, orientation)
    annotated = upright_image if upright else stored
    box = np.divide(annotated.getbbox(), annotated.size * 2 if size == FRACTIONS else 1)
    annotation = Annotation("a", (LabelledBox("cat", tuple(box)),), size, upright)
    taken = LoadedPhoto(b"", "", Frame(*stored.size, orientation))
    truth = algorithm.truth(Entry("a", Path("a.jpg"), annotation), taken, Summary(["cat"]))
    assert truth == Truth((64, 48), ((0, *HEAD),))


@given(st.data())
def test_a_box_is_rotated_like_its_pixels(data: st.DataObject) -> None:
    orientation = data.draw(st.integers(1, 8))
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    upright = Image.new("L", (width, height))
    upright.paste(255, (left, top, right, bottom))
    stored = as_stored(upright, orientation)
    taken = LoadedPhoto(b"", "", Frame(*stored.size, orientation))
    assert taken.frame.upright == (width, height)
    assert object_detection._rotate([(1, *stored.getbbox())], taken) == ((1, left, top, right, bottom),)


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_a_photo_reencoded_as_jpeg_keeps_its_boxes(boxed: Pets, tmp_path: Path, form: str) -> None:
    boxed.add("Bengal_20", encode(picture(), form), voc(("cat", *HEAD_VOC)))
    run(boxed, tmp_path / "channels")
    (photo,) = (tmp_path / "channels").glob("*/Bengal_20.jpg")
    with Image.open(photo) as image:
        assert (image.format, image.size) == ("JPEG", (64, 48))
    assert all_truths(tmp_path / "channels")["Bengal_20"].boxes == ((0, *HEAD),)


def test_boxes_are_clipped_or_dropped_and_listed_and_a_photo_without_boxes_is_kept(
    boxed: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    over = [("cat", -4, 1, 10, 10), ("cat", 60, 40, 70, 60)]
    away = [("cat", 65, 1, 80, 10), ("cat", 20, 20, 19, 30), ("cat", 5, 5, 5, 5)]
    boxed.add("Bengal_20", encode(picture()), voc(*over, *away))
    boxed.add("Bengal_21", encode(picture()), voc())
    run(boxed, tmp_path / "channels")
    truths = all_truths(tmp_path / "channels")
    assert truths["Bengal_20"].boxes == ((0, 0, 0, 10, 10), (0, 59, 39, 64, 48), (0, 4, 4, 5, 5))
    assert truths["Bengal_21"].boxes == ()
    lines = capsys.readouterr().out.splitlines()
    cut, dropped = "Bengal_20.xml -5 0 10 10, Bengal_20.xml 59 39 70 60", "Bengal_20.xml 64 0 80 10, Bengal_20.xml 19"
    assert any(line.startswith(f"boxes clipped to their photo: 2 ({cut}") for line in lines), lines
    assert any(
        line.startswith(f"boxes outside their photo or without an area, dropped: 2 ({dropped}") for line in lines
    )


def test_photos_with_unusable_annotations_are_skipped_counted_and_listed(
    boxed: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxed.add("Bengal_20", encode(picture()), voc(("cat", *HEAD_VOC), size=(65, 48)))
    boxed.add("Bengal_21", encode(picture()), voc(("bird", *HEAD_VOC)))
    boxed.add("Bengal_22", encode(picture()), "<annotation>")
    boxed.add("Bengal_23", encode(picture()))
    boxed.add("Bengal_24", encode(picture())[:300], voc(("cat", *HEAD_VOC)))
    boxed.add("Bengal_25", None, voc(("cat", *HEAD_VOC)))
    assert run(boxed, tmp_path / "channels") == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "photos that have no XML file, left out: 2 (Bengal_23.jpg, pug_900.jpg)"
    assert lines[1].startswith("photos whose annotations cannot be used, skipped: 3 (")
    assert lines[2].startswith("listed photos that cannot be read, skipped: 2 (")
    assert all(reason in lines[2] for reason in ("Bengal_24.jpg is truncated", "Bengal_25.jpg does not exist"))
    for reason in (
        "Bengal_20.xml is for a photo of 65 x 48 pixels, but Bengal_20.jpg has 64 x 48",
        "Bengal_21.xml has an object of class bird, but the classes are cat, dog",
        "Bengal_22.xml is not valid XML",
    ):
        assert reason in lines[1]
    assert lines[3] == "7 training photos, 3 validation photos, 2 classes"
    assert lines[-1] == "Set num_classes=2 num_training_samples=7"


def test_only_photos_of_the_real_subset_that_have_boxes_are_used(pets: Path, tmp_path: Path) -> None:
    data = official.detection(pets)
    train, validation = prepare.split(data)
    summary = prepare.write_channels(data, train, validation, tmp_path / "channels", name="object-detection")
    assert summary.class_names == ("cat", "dog")
    assert summary.counts == {"train": 236, "validation": 60}
    assert len(summary.files["photos that have no XML file, left out"]) == 214
    assert sum(len(truth.boxes) for truth in all_truths(tmp_path / "channels").values()) == 297


# --- predictions ------------------------------------------------------------------------------------------------------

CAT, DOG = (0, 10, 10, 30, 30), (1, 40, 20, 60, 40)


def make_predictions(*pairs: tuple[tuple[tuple[int, ...], ...], tuple[tuple[float, ...], ...]]) -> list[Prediction]:
    """Return predictions from pairs of true boxes and detections, in pixels of a photo of 100 x 50."""
    return [
        Prediction(Path("photo.jpg"), Truth((100, 50), boxes), np.array(rows, float).reshape(-1, 6))
        for boxes, rows in pairs
    ]


def test_a_response_in_fractions_becomes_detections_in_pixels() -> None:
    response = json.dumps({"prediction": [[1.0, 0.75, 0.1, 0.2, 0.5, 1.0]]}).encode()
    prediction = algorithm.parse_response(Path("photo.jpg"), Truth((100, 50), ()), response)
    assert prediction.detections == pytest.approx(np.array([[1, 0.75, 10, 10, 50, 50]]))
    assert algorithm.parse_response(
        Path("photo.jpg"), Truth((100, 50), ()), b'{"prediction": []}'
    ).detections.shape == (0, 6)


@pytest.mark.parametrize(
    "response", [b"", b"[1]", b'{"predictions": []}', b'{"prediction": [[1, 2]]}', b'{"prediction": [["a"]]}', b"\xff"]
)
def test_an_unexpected_response_gives_an_error_with_the_photo_and_the_response(response: bytes) -> None:
    with pytest.raises(CommandFailed) as caught:
        algorithm.parse_response(Path("pug_1.jpg"), Truth((100, 50), ()), response)
    assert str(caught.value).startswith("pug_1.jpg: the endpoint returned ")
    assert "expected a list of [class, score, xmin, ymin, xmax, ymax]" in str(caught.value)


def test_the_last_line_is_the_mean_average_precision_over_the_classes_that_occur() -> None:
    detections = ((0, 0.9, *CAT[1:]), (1, 0.8, *CAT[1:]), (2, 0.7, *CAT[1:]))
    predictions = make_predictions(((CAT,), detections), ((CAT, DOG), detections[:1]))
    assert algorithm.summary_line(predictions) == "mAP 0.50 (VOC07, 2 photos)"
    assert algorithm.summary_line(make_predictions(((CAT,), ()))) == "mAP 0.00 (VOC07, 1 photo)"


def test_the_table_counts_confident_detections_and_false_ones() -> None:
    confident, doubtful = (0, 0.9, *CAT[1:]), (0, 0.4, *CAT[1:])
    predictions = make_predictions(
        ((CAT,), (confident, (0, 0.6, 0, 0, 5, 5), (1, 0.7, *CAT[1:]))), ((CAT, DOG), (doubtful,))
    )
    lines = algorithm.table(predictions, ["cat", "dog", "parrot"]).splitlines()
    # Cats by score: hit, false, hit. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: (6 + 5 * 2 / 3) / 11 = 0.848.
    assert [line.split() for line in lines[1:]] == [
        ["cat", "0.85", "2", "1", "1"],
        ["dog", "0.00", "1", "0", "1"],
        ["parrot", "-", "0", "0", "0"],
    ]


def test_the_sheet_shows_twenty_photos_with_true_and_predicted_boxes_and_a_legend(tmp_path: Path) -> None:
    Image.new("RGB", (300, 150), (120, 120, 120)).save(tmp_path / "photo.jpg")
    truth = Truth((300, 150), ((0, 30, 60, 90, 120),))
    rows = np.array([[1, 0.9, 150, 60, 210, 120], [1, 0.4, 240, 60, 290, 120]], float)
    algorithm.sheet(
        [Prediction(tmp_path / "photo.jpg", truth, rows)] * 50, ["cat", "dog"], tmp_path / "predictions.png"
    )
    with Image.open(tmp_path / "predictions.png") as page:
        assert page.size == (4 * 248 + 8, 30 + 5 * 248 + 8)
        card, legend = page.crop((8, 38, 248, 278)), page.crop((0, 0, 300, 38))
    assert colours(legend, (0, 0, 300, 38)) == {object_detection._TRUE, object_detection._PREDICTED}
    # The photo of 300 x 150 pixels is centred in 240 x 240 at four fifths of its size.
    assert colours(card, (24, 60 + 48, 72, 60 + 96)) == {object_detection._TRUE}
    assert colours(card, (120, 60 + 48, 168, 60 + 96)) == {object_detection._PREDICTED}
    assert not colours(card, (186, 60, 240, 180)), "a detection of 0.4 is shown next to a confident one"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photo.jpg", "predictions.png"]


def colours(card: Image.Image, box: tuple[int, int, int, int]) -> set[tuple[int, ...]]:
    """Return which of the two box colours occur in a part of a card."""
    pixels = np.asarray(card.crop(box)).reshape(-1, 3)
    return set(map(tuple, np.unique(pixels, axis=0).tolist())) & {object_detection._TRUE, object_detection._PREDICTED}


@pytest.mark.parametrize(("scores", "shown"), [((0.9, 0.6, 0.4), 2), ((0.4, 0.3), 1), ((), 0)])
def test_detections_above_one_half_are_shown_and_at_least_the_best(scores: tuple[float, ...], shown: int) -> None:
    rows = tuple((0, score, *CAT[1:]) for score in scores)
    (prediction,) = make_predictions(((CAT,), rows))
    assert prediction.shown[:, 1].tolist() == list(scores[:shown])


@pytest.mark.parametrize(
    "box", [(-20, -20, 5, 5), (0, 0, 100, 50), (99, 49, 100, 50), (50, 20, 50, 20), (60, 30, 40, 10)]
)
def test_any_box_in_a_response_can_be_drawn(box: tuple[int, ...], tmp_path: Path) -> None:
    Image.new("RGB", (100, 50)).save(tmp_path / "photo.jpg")
    prediction = Prediction(tmp_path / "photo.jpg", Truth((100, 50), ()), np.array([[0, 0.9, *box]], float))
    algorithm.sheet(
        [prediction], ["a_breed_with_a_very_long_name_that_fills_the_whole_card"], tmp_path / "predictions.png"
    )
    assert (tmp_path / "predictions.png").stat().st_size > 0


# --- recipe -----------------------------------------------------------------------------------------------------------


@given(st.booleans(), st.integers(1, 300) | st.none(), st.integers(1, 10_000))
def test_recipes_fit_any_number_of_photos_and_train_from_scratch(drawn: bool, epochs: int | None, count: int) -> None:
    recipe = algorithm.recipe(drawn, epochs, {"num_classes": 2, "num_training_samples": count})
    steps = [int(step) for step in str(recipe.get("lr_scheduler_step", "")).split(",") if step]
    assert all(0 < step < int(recipe["epochs"]) for step in steps)
    assert 1 <= int(recipe["mini_batch_size"]) <= count
    assert recipe["use_pretrained_model"] == 0
    assert algorithm.forecast(recipe, 2) < algorithm.forecast(recipe, 1)
