"""A served classifier. Its predictions are softmax(4 x mean of each channel), in all response formats."""

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
    """Return the expected probabilities, computed from the preprocessed file."""
    return probabilities(*preprocess.load(data, classification().input).mean(axis=(1, 2)).tolist())


@pytest.mark.parametrize("colour", [RED, GREEN, (255, 255, 255), (51, 102, 204)])
def test_probabilities_match_a_calculation_by_hand(classifier: Server, colour: tuple[int, ...]) -> None:
    response = classifier.request("POST", "/invocations", solid(*colour), {"Content-Type": "image/png"})
    assert response.status == 200
    assert response.json() == pytest.approx(probabilities(*(value / 255 for value in colour)), abs=1e-5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF"])
@pytest.mark.parametrize("header", [None, "image/jpeg", "application/x-image", "application/octet-stream"])
def test_the_image_format_is_detected_from_the_bytes_and_not_the_header(
    classifier: Server, kind: str, header: str | None
) -> None:
    headers = {"Content-Type": header} if header else {}
    response = classifier.request("POST", "/invocations", solid(*RED, kind=kind), headers)
    assert response.status == 200, response.body
    assert response.json() == pytest.approx(probabilities(1, 0, 0), abs=0.02)


def test_accept_selects_the_format_and_the_content_type_matches(classifier: Server) -> None:
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


def test_batch_transform_gets_the_format_of_the_built_in(models: Path) -> None:
    with Server(models / "classifier", SAGEMAKER_BATCH="true") as server:
        response = server.wait_until_ready().request("POST", "/invocations", solid(*RED))
        parameters = server.request("GET", "/execution-parameters")
    assert response.json() == {"prediction": pytest.approx(probabilities(1, 0, 0), abs=1e-5)}
    assert parameters.json()["BatchStrategy"] == "SINGLE_RECORD"


def test_the_strategy_is_accepted_in_local_modes_spelling(models: Path) -> None:
    batch = application(models / "classifier", SAGEMAKER_BATCH="True")
    response = batch.post("/invocations", data=solid(*RED)).get_json()
    assert response == {"prediction": pytest.approx(probabilities(1, 0, 0), abs=1e-5)}
    assert batch.get("/execution-parameters").get_json()["BatchStrategy"] == "SingleRecord"


def test_a_one_channel_model_accepts_grey_and_colour_images(models: Path) -> None:
    grey = application(models / "classifier-of-grey")
    for image in (Image.new("L", (20, 20), 51), Image.new("RGB", (30, 20), RED), Image.new("I;16", (9, 9), 257)):
        reply = grey.post("/invocations", data=encode(image, "PNG"))
        assert (reply.status_code, reply.get_json()) == (200, [1.0])


def test_crop_uses_the_middle_of_a_wide_image_and_stretch_uses_all_of_it(
    classifier: Server, models: Path, tmp_path: Path
) -> None:
    image = Image.new("RGB", (60, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    data = encode(image, "PNG")
    assert classifier.request("POST", "/invocations", data).json() == pytest.approx(probabilities(0, 1, 0), abs=0.02)
    artifact.write(classification(rule="stretch"), tmp_path / "model")
    (tmp_path / "model" / "model.onnx").symlink_to(models / "classifier" / "model" / "model.onnx")
    response = application(tmp_path).post("/invocations", data=data).get_json()
    assert response == pytest.approx(probabilities(2 / 3, 1 / 3, 0), abs=0.02)


def test_drawn_photos_are_preprocessed_as_in_training(classifier: Server, tmp_path: Path) -> None:
    draw.data_set(tmp_path / "pets", trainval=1, test=1)
    photos = sorted((tmp_path / "pets" / "images").glob("*.jpg"))
    assert len(photos) == 12
    for path in photos:
        data = path.read_bytes()
        response = classifier.request("POST", "/invocations", data)
        assert response.json() == pytest.approx(by_hand(data), abs=1e-5), path.name


def test_real_photos_are_preprocessed_as_in_training(classifier: Server, pets: Path) -> None:
    for path in sorted((pets / "images").glob("*.jpg"))[::3]:
        data = path.read_bytes()
        response = classifier.request("POST", "/invocations", data, {"Content-Type": "image/jpeg"})
        assert response.json() == pytest.approx(by_hand(data), abs=1e-5), path.name
    for path in (pets / "images").glob("*.mat"):
        response = classifier.request("POST", "/invocations", path.read_bytes(), {"Content-Type": "image/jpeg"})
        assert response.status == 400
        assert "is not an image: it starts with 'MATLAB" in response.reason
