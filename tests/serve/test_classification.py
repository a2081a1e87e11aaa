"""A served classifier: its answers are softmax(4 x mean of each channel), in the forms that a request may ask for."""

import json
from pathlib import Path

import pytest
from PIL import Image

from local.datasets.drawn import draw
from serve import artifact, preprocess
from tests.photos import encode, solid
from tests.products.serving import classification, probabilities
from tests.serve.application import application
from tests.server import Server

RED, GREEN = (255, 0, 0), (0, 255, 0)


def by_hand(data: bytes) -> list[float]:
    """The answer, from what the shared preprocessing makes of the file."""
    return probabilities(*preprocess.load(data, classification().input).mean(axis=(1, 2)).tolist())


@pytest.mark.parametrize("colour", [RED, GREEN, (255, 255, 255), (51, 102, 204)])
def test_probabilities_are_those_worked_out_by_hand(classifier: Server, colour: tuple[int, ...]) -> None:
    answer = classifier.request("POST", "/invocations", solid(*colour), {"Content-Type": "image/png"})
    assert answer.status == 200
    assert answer.json() == pytest.approx(probabilities(*(value / 255 for value in colour)), abs=1e-5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF"])
@pytest.mark.parametrize("header", [None, "image/jpeg", "application/x-image", "application/octet-stream"])
def test_bytes_decide_what_an_image_is_whatever_the_header_says(
    classifier: Server, kind: str, header: str | None
) -> None:
    headers = {"Content-Type": header} if header else {}
    answer = classifier.request("POST", "/invocations", solid(*RED, kind=kind), headers)
    assert answer.status == 200, answer.body
    assert answer.json() == pytest.approx(probabilities(1, 0, 0), abs=0.02)


def test_accept_chooses_the_form_and_the_content_type_follows(classifier: Server) -> None:
    lines = classifier.request("POST", "/invocations", solid(*RED), {"Accept": "application/jsonlines"})
    assert lines.headers["content-type"] == "application/jsonlines"
    assert json.loads(lines.body) == {"prediction": pytest.approx(probabilities(1, 0, 0), abs=1e-5)}
    verbose = classifier.request("POST", "/invocations", solid(*RED), {"Accept": "application/json;verbose"})
    assert verbose.headers["content-type"] == "application/json"
    assert verbose.json() == {
        "predicted_label": "red",
        "labels": ["red", "green", "blue"],
        "probabilities": pytest.approx(probabilities(1, 0, 0), abs=1e-5),
    }


def test_batch_transform_gets_the_built_ins_form(models: Path) -> None:
    with Server(models / "classifier", SAGEMAKER_BATCH="true") as server:
        answer = server.wait_until_ready().request("POST", "/invocations", solid(*RED))
        parameters = server.request("GET", "/execution-parameters")
    assert answer.json() == {"prediction": pytest.approx(probabilities(1, 0, 0), abs=1e-5)}
    assert parameters.json()["BatchStrategy"] == "SINGLE_RECORD"


def test_batch_transform_of_local_mode_gets_the_strategy_in_its_own_spelling(models: Path) -> None:
    batch = application(models / "classifier", SAGEMAKER_BATCH="True")
    answer = batch.post("/invocations", data=solid(*RED)).get_json()
    assert answer == {"prediction": pytest.approx(probabilities(1, 0, 0), abs=1e-5)}
    assert batch.get("/execution-parameters").get_json()["BatchStrategy"] == "SingleRecord"


def test_one_channel_model_takes_grey_and_colour_images(models: Path) -> None:
    grey = application(models / "classifier-of-grey")
    for image in (Image.new("L", (20, 20), 51), Image.new("RGB", (30, 20), RED), Image.new("I;16", (9, 9), 257)):
        reply = grey.post("/invocations", data=encode(image, "PNG"))
        assert (reply.status_code, reply.get_json()) == (200, [1.0])


def test_crop_sees_the_middle_of_a_wide_image_and_stretch_all_of_it(
    classifier: Server, models: Path, tmp_path: Path
) -> None:
    image = Image.new("RGB", (60, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    data = encode(image, "PNG")
    assert classifier.request("POST", "/invocations", data).json() == pytest.approx(probabilities(0, 1, 0), abs=0.02)
    artifact.write(classification(rule="stretch"), tmp_path / "model")
    (tmp_path / "model" / "model.onnx").symlink_to(models / "classifier" / "model" / "model.onnx")
    answer = application(tmp_path).post("/invocations", data=data).get_json()
    assert answer == pytest.approx(probabilities(2 / 3, 1 / 3, 0), abs=0.02)


def test_drawn_photos_get_the_answer_of_the_shared_preprocessing(classifier: Server, tmp_path: Path) -> None:
    draw.data_set(tmp_path / "pets", trainval=1, test=1)
    photos = sorted((tmp_path / "pets" / "images").glob("*.jpg"))
    assert len(photos) == 12
    for path in photos:
        data = path.read_bytes()
        answer = classifier.request("POST", "/invocations", data)
        assert answer.json() == pytest.approx(by_hand(data), abs=1e-5), path.name


def test_real_photos_get_the_answer_of_the_shared_preprocessing(classifier: Server, pets: Path) -> None:
    for path in sorted((pets / "images").glob("*.jpg"))[::3]:
        data = path.read_bytes()
        answer = classifier.request("POST", "/invocations", data, {"Content-Type": "image/jpeg"})
        assert answer.json() == pytest.approx(by_hand(data), abs=1e-5), path.name
    for path in (pets / "images").glob("*.mat"):
        answer = classifier.request("POST", "/invocations", path.read_bytes(), {"Content-Type": "image/jpeg"})
        assert answer.status == 400
        assert "is not an image: it starts with 'MATLAB" in answer.reason
