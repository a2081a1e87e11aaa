"""A served segmenter. A pixel's class is the dominant colour of its 8 x 8 cell: red, green, blue, or else black."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve import preprocess
from serve.tasks import masks
from tests.photos import TURNS, encode, encode_rotated, quarters
from tests.products.serving import segmentation, tensors_and_masks
from tests.serve.application import application
from tests.server import Server

NAMES = ["red", "green", "blue", "black"]
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
SIDE = 64


def truth(width: int, height: int) -> np.ndarray:
    """Return the classes of `quarters`, uint8 (height, width)."""
    rows, columns = np.arange(height)[:, np.newaxis] >= height // 2, np.arange(width) >= width // 2
    return (2 * rows + columns).astype(np.uint8)


def sure(width: int, height: int) -> np.ndarray:
    """Return the pixels of `quarters` that no cell with an edge between colours affects, bool (height, width)."""
    reach = 1.5 * 8 * max(width, height) / SIDE + 1
    across = np.abs(np.arange(width) + 0.5 - width // 2) > reach
    down = np.abs(np.arange(height) + 0.5 - height // 2) > reach
    assert across.any()
    assert down.any()
    return across & down[:, np.newaxis]


def predict(server: Server, data: bytes, accept: str = "image/png", echoed: str | None = None) -> bytes:
    """Check the media type (the requested one, or `echoed`) and the length of the response, and return its body."""
    response = server.request("POST", "/invocations", data, {"Accept": accept})
    assert response.status == 200, response.body
    assert response.headers["content-type"] == (echoed or accept)
    assert int(response.headers["content-length"]) == len(response.body)
    return response.body


def mask(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        return np.asarray(image)


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (301, 400), (64, 64), (17, 20), (1001, 600), (701, 1500), (2049, 1537)]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_mask_has_the_photos_size_and_the_classes_in_the_right_places(
    segmenter: Server, width: int, height: int, kind: str
) -> None:
    predicted = mask(predict(segmenter, encode(quarters(width, height), kind)))
    assert predicted.shape == (height, width)
    where = sure(width, height)
    assert (predicted[where] == truth(width, height)[where]).all()


@pytest.mark.parametrize(("width", "height"), [(1000, 60), (33, 1500), (1, 3000), (3000, 1), (2, 3), (1, 2)])
def test_the_mask_of_a_strip_or_tiny_photo_has_the_right_classes(segmenter: Server, width: int, height: int) -> None:
    """The first half of the longer side is red, the second half green."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height) if width > height else (0, height // 2, width, height))
    predicted = mask(predict(segmenter, encode(image, "PNG")))
    assert predicted.shape == (height, width)
    along = predicted if width > height else predicted.T
    middle, cell = max(width, height) // 2, max(width, height) // 8
    assert (along[:, : middle - cell] == 0).all()
    assert (along[:, middle + cell :] == 1).all()
    assert set(np.unique(predicted)) == {0, 1}


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, BLACK])
def test_a_photo_of_one_pixel_has_a_mask_of_one_pixel(segmenter: Server, colour: tuple[int, ...]) -> None:
    predicted = mask(predict(segmenter, encode(Image.new("RGB", (1, 1), colour), "PNG")))
    assert predicted.tolist() == [[(RED, GREEN, BLUE, BLACK).index(colour)]]


@pytest.mark.parametrize(("width", "height"), [(640, 320), (101, 300), (50, 49)])
def test_padding_does_not_affect_the_edge_of_the_photo(segmenter: Server, width: int, height: int) -> None:
    """The class of the padding would be black."""
    assert (mask(predict(segmenter, encode(Image.new("RGB", (width, height), GREEN), "PNG"))) == 1).all()


@pytest.mark.parametrize("orientation", TURNS)
def test_the_mask_matches_the_upright_photo_for_each_exif_orientation(segmenter: Server, orientation: int) -> None:
    predicted = mask(predict(segmenter, encode_rotated(quarters(640, 321), orientation)))
    assert predicted.shape == (321, 640)
    assert (predicted[sure(640, 321)] == truth(640, 321)[sure(640, 321)]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_greyscale_photo_is_converted_to_colour(segmenter: Server, kind: str) -> None:
    """The left half is white: all colours are equally strong, and the lowest class wins. The right half is black."""
    grey = Image.new("L", (400, 301))
    grey.paste(255, (0, 0, 200, 301))
    predicted = mask(predict(segmenter, encode(grey, kind)))
    assert set(np.unique(predicted)) == {0, 3}
    assert (predicted[:, :140] == 0).all()
    assert (predicted[:, 260:] == 3).all()


def test_the_mask_matches_what_training_computes_from_the_same_logits(segmenter: Server) -> None:
    """The expected mask comes from serve.preprocess and serve.tasks.masks, on random pixels."""
    random = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    data = encode(Image.fromarray(random).resize((500, 375), Image.Resampling.BICUBIC))
    spec = segmentation().input
    tensor = preprocess.load(data, spec)
    logits = 20 * tensor.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4), dtype=np.float32)
    logits = np.concatenate([logits, np.full((1, 8, 8), 1, np.float32)])
    expected = masks.class_ids(logits, (500, 375), spec)
    assert len(np.unique(expected)) > 1
    assert (
        mask(predict(segmenter, data)) != expected
    ).mean() < 1e-4  # only pixels with two almost equal classes may differ


def test_the_default_response_is_a_png_mask(segmenter: Server) -> None:
    data = encode(quarters(50, 40))
    for accept in (None, "*/*"):
        response = segmenter.request("POST", "/invocations", data, {"Accept": accept} if accept else {})
        assert (response.status, response.headers["content-type"]) == (200, "image/png")
        assert response.body == predict(segmenter, data)


@pytest.mark.parametrize("accept", ["application/json;verbose", "application/json"])
def test_a_json_response_has_names_shares_and_the_mask(segmenter: Server, accept: str) -> None:
    data = encode(quarters(640, 480))
    document = json.loads(predict(segmenter, data, accept, "application/json"))
    assert (document["width"], document["height"]) == (640, 480)
    assert [item["label"] for item in document["classes"]] == NAMES
    png = base64.b64decode(document["mask"], validate=True)
    assert png == predict(segmenter, data)
    assert [item["share"] for item in document["classes"]] == [(mask(png) == index).mean() for index in range(4)]


def test_batch_transform_gets_the_same_format_as_an_endpoint(models: Path) -> None:
    batch = application(models / "segmenter", SAGEMAKER_BATCH="True")
    reply = batch.post("/invocations", data=encode(quarters(50, 40)))
    assert (reply.status_code, reply.content_type) == (200, "image/png")
    assert mask(reply.data).shape == (40, 50)


def test_probabilities_above_the_limit_get_413_with_the_fix_and_the_next_request_succeeds(segmenter: Server) -> None:
    large = encode(Image.new("RGB", (4096, 1601)))
    response = segmenter.request("POST", "/invocations", large, {"Accept": "application/x-protobuf"})
    assert response.status == 413
    assert response.reason == (
        "The probabilities of 4 classes for 4096 x 1601 pixels would take 104923136 bytes, and the limit is 104857600; "
        "send a smaller photo, or request image/png."
    )
    assert mask(predict(segmenter, large)).shape == (1601, 4096)


def test_the_largest_allowed_probabilities_arrive_complete(segmenter: Server) -> None:
    """They are 100 MiB of numbers plus a few bytes of framing."""
    body = predict(segmenter, encode(Image.new("RGB", (4096, 1600), BLUE), "PNG"), "application/x-protobuf")
    assert 0 < len(body) - 4 * 4 * 4096 * 1600 < 100


def test_an_unsupported_accept_header_gets_406_with_the_supported_types(segmenter: Server) -> None:
    response = segmenter.request("POST", "/invocations", encode(quarters(9, 9)), {"Accept": "application/jsonlines"})
    assert response.status == 406
    for form in ("image/png", "application/x-recordio-protobuf", "application/json;verbose"):
        assert form in response.reason


def test_training_and_serving_environments_compute_identical_bits(models: Path) -> None:
    assert tensors_and_masks() == json.loads((models / "digests.json").read_text())
