"""A served detector. It finds the coloured cells of a 4 x 4 grid. The scores are the strengths of the colours."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.photos import TURNS, encode, encode_rotated
from tests.serve.application import application
from tests.server import Server

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def photo(*cells: tuple[tuple[int, ...], int, int], width: int = 640, height: int = 320) -> Image.Image:
    """Draw a black photo with coloured cells, each given as colour, column and row in the photo's 4 x 4 grid."""
    image = Image.new("RGB", (width, height))
    for colour, column, row in cells:
        box = (column * width // 4, row * height // 4, (column + 1) * width // 4, (row + 1) * height // 4)
        image.paste(colour, box)
    return image


def predict(server: Server, data: bytes, headers: dict[str, str] | None = None) -> Any:
    """Return the JSON of a successful response."""
    response = server.request("POST", "/invocations", data, headers)
    assert response.status == 200, response.body
    return response.json()


def detection(index: int, score: float, *box: float) -> Any:
    """Return a row that compares as approximately equal to the expected row."""
    return pytest.approx([index, score, *box], abs=0.02)


@pytest.mark.parametrize(("width", "height"), [(640, 320), (320, 640), (16, 16), (1000, 60), (33, 1500)])
def test_boxes_are_fractions_of_photos_of_any_shape_and_duplicates_are_suppressed(
    detector: Server, width: int, height: int
) -> None:
    data = encode(photo((RED, 2, 1), width=width, height=height), "PNG")
    assert predict(detector, data)["prediction"] == [detection(0, 1, 0.5, 0.25, 0.75, 0.5)]


@pytest.mark.parametrize("orientation", TURNS)
def test_boxes_are_fractions_of_the_upright_photo_for_each_exif_orientation(detector: Server, orientation: int) -> None:
    upright = photo((RED, 2, 1), (GREEN, 3, 3))
    data = encode_rotated(upright, orientation)
    assert sorted(predict(detector, data)["prediction"]) == [
        detection(0, 1, 0.5, 0.25, 0.75, 0.5),
        detection(1, 1, 0.75, 0.75, 1, 1),
    ]
    annotated = predict(detector, data, {"Accept": "application/json;annotation=1"})
    assert annotated["image_size"] == [{"width": 640, "height": 320, "depth": 3}]
    pixels = [[note["class_id"], *list(note.values())[2:]] for note in annotated["annotations"]]
    assert sorted(pixels) == [[0, 320, 80, 160, 80], [1, 480, 240, 160, 80]]
    assert all(type(number) is int for numbers in pixels for number in numbers)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_greyscale_photo_is_converted_to_colour(detector: Server, kind: str) -> None:
    grey = encode(photo((WHITE, 0, 3)).convert("L"), kind)
    assert predict(detector, grey)["prediction"] == [detection(index, 1, 0, 0.75, 0.25, 1) for index in (0, 1, 2)]
    assert predict(detector, grey, {"Accept": "application/json;annotation=1"})["image_size"][0]["depth"] == 3


def test_rows_are_sorted_by_descending_score(detector: Server) -> None:
    cells = (((100, 0, 0), 0, 0), ((0, 250, 0), 2, 0), ((0, 0, 150), 0, 2), ((200, 50, 0), 2, 2))
    detections = predict(detector, encode(photo(*cells)))["prediction"]
    scores = [score for _, score, *_ in detections]
    assert scores == sorted(scores, reverse=True)
    places = [(int(index), xmin, ymin) for index, _, xmin, ymin, *_ in detections]
    assert places == [(1, 0.5, 0), (0, 0.5, 0.5), (2, 0, 0.5), (0, 0, 0), (1, 0.5, 0.5)]


def test_a_response_without_detections_is_an_empty_list(detector: Server) -> None:
    black, red = encode(photo()), encode(photo((RED, 1, 1)))
    assert detector.request("POST", "/invocations", black).body == b'{"prediction": []}'
    assert detector.request("POST", "/invocations", red, {ATTRIBUTES: "threshold=1"}).body == b'{"prediction": []}'
    assert predict(detector, black, {"Accept": "application/json;verbose"}) == {"prediction": []}
    assert predict(detector, black, {"Accept": "application/json;annotation=1"})["annotations"] == []


def test_a_verbose_response_has_class_names(detector: Server) -> None:
    detection = predict(detector, encode(photo((GREEN, 2, 1))), {"Accept": "application/json;verbose"})["prediction"][0]
    box = {"left": 0.5, "top": 0.25, "width": 0.25, "height": 0.25}
    assert detection == {"label": "green", "class_id": 1, "score": pytest.approx(1, abs=0.02), "box": box}


def test_batch_transform_gets_the_same_format_as_an_endpoint(models: Path) -> None:
    batch = application(models / "detector", SAGEMAKER_BATCH="True")
    reply = batch.post("/invocations", data=encode(photo((RED, 2, 1))))
    assert reply.get_json()["prediction"][0] == detection(0, 1, 0.5, 0.25, 0.75, 0.5)


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("max_detections=1", 1),
        ("threshold=0.5,max_detections=20", 3),
        ("threshold=0.5;max_detections=2", 2),
        ("x=y", 3),
    ],
)
def test_custom_attributes_limit_the_number_of_detections(detector: Server, header: str, count: int) -> None:
    data = encode(photo((RED, 0, 0), (GREEN, 2, 0), ((0, 0, 200), 0, 2)), "PNG")
    everything = predict(detector, data)["prediction"]
    detections = predict(detector, data, {ATTRIBUTES: header})["prediction"]
    assert len(everything) == 3
    assert detections == everything[:count]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("threshold=high", "The custom attribute threshold is 'high'; it must be a number from 0 to 1."),
        ("threshold=0.5,max_detections=-3", "The custom attribute max_detections is '-3'; it must be a whole number"),
        ("max_detections=1;max_detections=2", "The custom attribute max_detections is set twice"),
    ],
)
def test_an_invalid_custom_attribute_gets_400_with_a_reason(detector: Server, header: str, message: str) -> None:
    data = encode(photo((RED, 2, 1)))
    response = detector.request("POST", "/invocations", data, {ATTRIBUTES: header, "Accept": "*/*"})
    assert response.status == 400
    assert response.reason.startswith(message)
    assert predict(detector, data)["prediction"]


def test_an_unsupported_accept_header_gets_406_with_the_supported_types(detector: Server) -> None:
    response = detector.request("POST", "/invocations", encode(photo()), {"Accept": "image/png"})
    assert response.status == 406
    assert "application/json;annotation" in response.reason
