"""A served segmenter: a pixel is red, green or blue where that colour is strong in its 8 x 8 cell, black elsewhere."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve import preprocess
from serve.tasks import masks
from tests.photos import TURNS, encode, laid_down, quarters
from tests.products.serving import segmentation, tensors_and_masks
from tests.serve.application import application
from tests.server import Server

NAMES = ["red", "green", "blue", "black"]
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
SIDE = 64


def truth(width: int, height: int) -> np.ndarray:
    """The classes of `quarters`, uint8 (height, width)."""
    rows, columns = np.arange(height)[:, np.newaxis] >= height // 2, np.arange(width) >= width // 2
    return (2 * rows + columns).astype(np.uint8)


def sure(width: int, height: int) -> np.ndarray:
    """Pixels of `quarters` that no cell with an edge between colours has a say in: bool (height, width)."""
    reach = 1.5 * 8 * max(width, height) / SIDE + 1
    across = np.abs(np.arange(width) + 0.5 - width // 2) > reach
    down = np.abs(np.arange(height) + 0.5 - height // 2) > reach
    assert across.any()
    assert down.any()
    return across & down[:, np.newaxis]


def ask(server: Server, data: bytes, accept: str = "image/png", echoed: str | None = None) -> bytes:
    """The body of an answer, which has the media type asked for (or `echoed`) and says its length."""
    answer = server.request("POST", "/invocations", data, {"Accept": accept})
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == (echoed or accept)
    assert int(answer.headers["content-length"]) == len(answer.body)
    return answer.body


def mask(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        return np.asarray(image)


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (301, 400), (64, 64), (17, 20), (1001, 600), (701, 1500), (2049, 1537)]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_mask_has_the_size_of_the_photo_whatever_its_shape_and_the_classes_in_their_places(
    segmenter: Server, width: int, height: int, kind: str
) -> None:
    found = mask(ask(segmenter, encode(quarters(width, height), kind)))
    assert found.shape == (height, width)
    where = sure(width, height)
    assert (found[where] == truth(width, height)[where]).all()


@pytest.mark.parametrize(("width", "height"), [(1000, 60), (33, 1500), (1, 3000), (3000, 1), (2, 3), (1, 2)])
def test_mask_of_a_strip_and_of_a_few_pixels_has_their_classes(segmenter: Server, width: int, height: int) -> None:
    """Red, and from the middle of the longer side on green."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height) if width > height else (0, height // 2, width, height))
    found = mask(ask(segmenter, encode(image, "PNG")))
    assert found.shape == (height, width)
    along = found if width > height else found.T
    middle, cell = max(width, height) // 2, max(width, height) // 8
    assert (along[:, : middle - cell] == 0).all()
    assert (along[:, middle + cell :] == 1).all()
    assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, BLACK])
def test_photo_of_one_pixel_has_a_mask_of_one_pixel(segmenter: Server, colour: tuple[int, ...]) -> None:
    found = mask(ask(segmenter, encode(Image.new("RGB", (1, 1), colour), "PNG")))
    assert found.tolist() == [[(RED, GREEN, BLUE, BLACK).index(colour)]]


@pytest.mark.parametrize(("width", "height"), [(640, 320), (101, 300), (50, 49)])
def test_padding_never_shows_at_the_edge_of_the_photo(segmenter: Server, width: int, height: int) -> None:
    """The padding's class would be black."""
    assert (mask(ask(segmenter, encode(Image.new("RGB", (width, height), GREEN), "PNG"))) == 1).all()


@pytest.mark.parametrize("orientation", TURNS)
def test_mask_is_of_the_upright_photo_whatever_its_exif_orientation(segmenter: Server, orientation: int) -> None:
    found = mask(ask(segmenter, laid_down(quarters(640, 321), orientation)))
    assert found.shape == (321, 640)
    assert (found[sure(640, 321)] == truth(640, 321)[sure(640, 321)]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_greyscale_photo_is_read_in_colour(segmenter: Server, kind: str) -> None:
    """Left white: all three colours are as strong, and the lowest class wins. Right black."""
    grey = Image.new("L", (400, 301))
    grey.paste(255, (0, 0, 200, 301))
    found = mask(ask(segmenter, encode(grey, kind)))
    assert set(np.unique(found)) == {0, 3}
    assert (found[:, :140] == 0).all()
    assert (found[:, 260:] == 3).all()


def test_mask_is_what_training_computes_from_the_same_logits(segmenter: Server) -> None:
    """With serve.preprocess and serve.tasks.masks, of any pixels."""
    random = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    data = encode(Image.fromarray(random).resize((500, 375), Image.Resampling.BICUBIC))
    spec = segmentation().input
    tensor = preprocess.load(data, spec)
    logits = 20 * tensor.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4), dtype=np.float32)
    logits = np.concatenate([logits, np.full((1, 8, 8), 1, np.float32)])
    wanted = masks.class_ids(logits, (500, 375), spec)
    assert len(np.unique(wanted)) > 1
    assert (mask(ask(segmenter, data)) != wanted).mean() < 1e-4  # where two classes are as good as equal


def test_without_accept_a_png_mask_is_answered(segmenter: Server) -> None:
    data = encode(quarters(50, 40))
    for accept in (None, "*/*"):
        answer = segmenter.request("POST", "/invocations", data, {"Accept": accept} if accept else {})
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
        assert answer.body == ask(segmenter, data)


@pytest.mark.parametrize("accept", ["application/json;verbose", "application/json"])
def test_json_answer_has_names_shares_and_the_mask(segmenter: Server, accept: str) -> None:
    data = encode(quarters(640, 480))
    document = json.loads(ask(segmenter, data, accept, "application/json"))
    assert (document["width"], document["height"]) == (640, 480)
    assert [said["label"] for said in document["classes"]] == NAMES
    png = base64.b64decode(document["mask"], validate=True)
    assert png == ask(segmenter, data)
    assert [said["share"] for said in document["classes"]] == [(mask(png) == index).mean() for index in range(4)]


def test_batch_transform_gets_the_endpoints_form(models: Path) -> None:
    batch = application(models / "segmenter", SAGEMAKER_BATCH="True")
    reply = batch.post("/invocations", data=encode(quarters(50, 40)))
    assert (reply.status_code, reply.content_type) == (200, "image/png")
    assert mask(reply.data).shape == (40, 50)


def test_probabilities_beyond_the_limit_are_413_with_the_fix_and_the_next_is_answered(segmenter: Server) -> None:
    large = encode(Image.new("RGB", (4096, 1601)))
    answer = segmenter.request("POST", "/invocations", large, {"Accept": "application/x-protobuf"})
    assert answer.status == 413
    assert answer.reason == (
        "The probabilities of 4 classes for 4096 x 1601 pixels would have 104923136 bytes, the limit is 104857600; "
        "send a smaller photo, or ask for image/png."
    )
    assert mask(ask(segmenter, large)).shape == (1601, 4096)


def test_largest_probabilities_arrive_whole(segmenter: Server) -> None:
    """100 MiB of numbers, and the few bytes around them."""
    body = ask(segmenter, encode(Image.new("RGB", (4096, 1600), BLUE), "PNG"), "application/x-protobuf")
    assert 0 < len(body) - 4 * 4 * 4096 * 1600 < 100


def test_accept_that_a_segmenter_cannot_meet_is_406_with_what_it_can(segmenter: Server) -> None:
    answer = segmenter.request("POST", "/invocations", encode(quarters(9, 9)), {"Accept": "application/jsonlines"})
    assert answer.status == 406
    for form in ("image/png", "application/x-recordio-protobuf", "application/json;verbose"):
        assert form in answer.reason


def test_training_and_serving_environments_make_the_same_bits(models: Path) -> None:
    assert tensors_and_masks() == json.loads((models / "digests.json").read_text())
