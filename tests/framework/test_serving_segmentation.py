"""The real server on a segmenter whose logits are worked out by hand: which of three colours is strong in a cell."""

import base64
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image

from serve import artifact, masks, preprocess
from tests.environments import REPOSITORY, python
from tests.framework import bodies_serving as bodies
from tests.photos import TURNS, encode, laid_down
from tests.server import Server

Run = Callable[..., Any]

NAMES = ["red", "green", "blue", "black"]
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
SIDE = 64


@pytest.fixture(scope="module")
def base(in_mxnet: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like /opt/ml with the segmenter."""
    folder = tmp_path_factory.mktemp("segmenter")
    in_mxnet(bodies.make_segmenter, folder / "model", "")
    return folder


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    """One server for all questions."""
    with Server(base) as started:
        yield started.wait_until_ready()


def quarters(width: int, height: int) -> Image.Image:
    """Red top left, green top right, blue bottom left, black bottom right."""
    image = Image.new("RGB", (width, height))
    for colour, left, top in ((RED, 0, 0), (GREEN, width // 2, 0), (BLUE, 0, height // 2)):
        right, bottom = (width if left else width // 2), (height if top else height // 2)
        image.paste(colour, (left, top, right, bottom))
    return image


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
    status, headers, body = server.ask("POST", "/invocations", data, {"Accept": accept})
    assert status == 200, body
    assert headers["content-type"] == (echoed or accept)
    assert int(headers["content-length"]) == len(body)
    return body


def mask(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        return np.asarray(image)


# --- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (301, 400), (64, 64), (17, 20), (1001, 600), (701, 1500), (2049, 1537)]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_mask_has_the_size_of_the_photo_whatever_its_shape_and_the_classes_in_their_places(
    server: Server, width: int, height: int, kind: str
) -> None:
    found = mask(ask(server, encode(quarters(width, height), kind)))
    assert found.shape == (height, width)
    where = sure(width, height)
    assert (found[where] == truth(width, height)[where]).all()


@pytest.mark.parametrize(("width", "height"), [(1000, 60), (33, 1500), (1, 3000), (3000, 1), (2, 3), (1, 2)])
def test_mask_of_a_strip_and_of_a_few_pixels_has_their_classes(server: Server, width: int, height: int) -> None:
    """Red, and from the middle of the longer side on green."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height) if width > height else (0, height // 2, width, height))
    found = mask(ask(server, encode(image, "PNG")))
    assert found.shape == (height, width)
    along = found if width > height else found.T
    middle, cell = max(width, height) // 2, max(width, height) // 8
    assert (along[:, : middle - cell] == 0).all()
    assert (along[:, middle + cell :] == 1).all()
    assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, BLACK])
def test_photo_of_one_pixel_has_a_mask_of_one_pixel(server: Server, colour: tuple[int, ...]) -> None:
    found = mask(ask(server, encode(Image.new("RGB", (1, 1), colour), "PNG")))
    assert found.tolist() == [[(RED, GREEN, BLUE, BLACK).index(colour)]]


@pytest.mark.parametrize(("width", "height"), [(640, 320), (101, 300), (50, 49)])
def test_padding_never_shows_at_the_edge_of_the_photo(server: Server, width: int, height: int) -> None:
    """The padding's class would be black."""
    assert (mask(ask(server, encode(Image.new("RGB", (width, height), GREEN), "PNG"))) == 1).all()


@pytest.mark.parametrize("orientation", TURNS)
def test_mask_is_of_the_upright_photo_whatever_its_exif_orientation(server: Server, orientation: int) -> None:
    found = mask(ask(server, laid_down(quarters(640, 321), orientation)))
    assert found.shape == (321, 640)
    assert (found[sure(640, 321)] == truth(640, 321)[sure(640, 321)]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_greyscale_photo_is_read_in_colour(server: Server, kind: str) -> None:
    """Left white: all three colours are as strong, and the lowest class wins. Right black."""
    grey = Image.new("L", (400, 301))
    grey.paste(255, (0, 0, 200, 301))
    found = mask(ask(server, encode(grey, kind)))
    assert set(np.unique(found)) == {0, 3}
    assert (found[:, :140] == 0).all()
    assert (found[:, 260:] == 3).all()


def test_mask_is_what_training_computes_from_the_same_logits(server: Server, base: Path) -> None:
    """With serve.preprocess and serve.masks, of whatever pixels."""
    random = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    data = encode(Image.fromarray(random).resize((500, 375), Image.Resampling.BICUBIC))
    spec = artifact.read(base / "model").input
    tensor = preprocess.load(data, spec)
    logits = 20 * tensor.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4), dtype=np.float32)
    logits = np.concatenate([logits, np.full((1, 8, 8), 1, np.float32)])
    wanted = masks.class_ids(logits, (500, 375), spec)
    assert len(np.unique(wanted)) > 1
    assert (mask(ask(server, data)) != wanted).mean() < 1e-4  # where two classes are as good as equal


# --- forms ----------------------------------------------------------------------------------------------------------


def test_without_accept_a_png_mask_is_answered(server: Server) -> None:
    data = encode(quarters(50, 40))
    for accept in (None, "*/*"):
        status, headers, body = server.ask("POST", "/invocations", data, {"Accept": accept} if accept else {})
        assert (status, headers["content-type"]) == (200, "image/png")
        assert body == ask(server, data)


def test_sagemakers_sdk_reads_the_probabilities_and_they_are_the_masks(
    server: Server, in_sdk2: Run, tmp_path: Path
) -> None:
    forms = ("application/x-protobuf", "application/x-recordio-protobuf")
    asked = [(accept, size) for accept in forms for size in ((101, 67), (1, 1))]
    for number, (accept, size) in enumerate(asked):
        (tmp_path / f"{number}").write_bytes(ask(server, encode(quarters(*size), "PNG"), accept))
    said = in_sdk2(bodies.records_by_the_sdk, [str(tmp_path / f"{number}") for number in range(len(asked))])
    for (_, (width, height)), (shape, target) in zip(asked, said, strict=True):
        assert shape == [1, 4, height, width]
        chances = np.array(target).reshape(4, height, width)
        np.testing.assert_allclose(chances.sum(axis=0), 1, atol=1e-5)
        assert (chances.argmax(axis=0) == mask(ask(server, encode(quarters(width, height), "PNG")))).all()
    # The upper left corner is all red: logits 20, 0, 0 and 1.
    powers = np.exp([20, 0, 0, 1])
    np.testing.assert_allclose(np.array(said[0][1]).reshape(4, 67, 101)[:, 0, 0], powers / powers.sum(), atol=1e-5)


@pytest.mark.parametrize("accept", ["application/json;verbose", "application/json"])
def test_json_answer_has_names_shares_and_the_mask(server: Server, accept: str) -> None:
    data = encode(quarters(640, 480))
    document = json.loads(ask(server, data, accept, "application/json"))
    assert (document["width"], document["height"]) == (640, 480)
    assert [said["label"] for said in document["classes"]] == NAMES
    png = base64.b64decode(document["mask"], validate=True)
    assert png == ask(server, data)
    assert [said["share"] for said in document["classes"]] == [(mask(png) == index).mean() for index in range(4)]


def test_batch_transform_gets_the_endpoints_form(base: Path) -> None:
    with Server(base, SAGEMAKER_BATCH="True") as started:
        status, headers, body = started.wait_until_ready().ask("POST", "/invocations", encode(quarters(50, 40)))
    assert (status, headers["content-type"]) == (200, "image/png")
    assert mask(body).shape == (40, 50)


def test_probabilities_beyond_the_limit_are_413_with_the_fix_and_the_next_is_answered(server: Server) -> None:
    large = encode(Image.new("RGB", (4096, 1601)))
    status, headers, body = server.ask("POST", "/invocations", large, {"Accept": "application/x-protobuf"})
    assert (status, headers["content-type"]) == (413, "application/json")
    reason = (
        "The probabilities of 4 classes for 4096 x 1601 pixels would have 104923136 bytes, the limit is 104857600; "
        "send a smaller photo, or ask for image/png."
    )
    assert json.loads(body) == {"status": 413, "reason": reason, "error": reason}
    assert mask(ask(server, large)).shape == (1601, 4096)


def test_largest_probabilities_arrive_whole(server: Server) -> None:
    """100 MiB of numbers, and the few bytes around them."""
    body = ask(server, encode(Image.new("RGB", (4096, 1600), BLUE), "PNG"), "application/x-protobuf")
    assert 0 < len(body) - 4 * 4 * 4096 * 1600 < 100


def test_accept_that_a_segmenter_cannot_meet_is_406_with_what_it_can(server: Server) -> None:
    status, _, body = server.ask("POST", "/invocations", encode(quarters(9, 9)), {"Accept": "application/jsonlines"})
    assert status == 406
    for form in ("image/png", "application/x-recordio-protobuf", "application/json;verbose"):
        assert form in json.loads(body)["reason"]


# --- broken models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("classes", r"answers float32 \(1, 4, 8, 8\) for one image, model.json has 5 class_names"),
        ("cells", r"answers float32 \(1, 4, 15, 15\) .* an input of 64 x 64 pixels"),
    ],
)
def test_segmenter_that_does_not_fit_its_description_ends_the_process(
    in_mxnet: Run, tmp_path: Path, broken: str, says: str
) -> None:
    in_mxnet(bodies.make_segmenter, tmp_path / "model", broken)
    with Server(tmp_path) as started:
        assert started.wait(30) == 3
        started.wait_for(f"model.onnx {says}")


def test_logits_that_are_not_finite_end_the_process(in_mxnet: Run, tmp_path: Path) -> None:
    in_mxnet(bodies.make_segmenter, tmp_path / "model", "nan")
    with Server(tmp_path) as started:
        assert started.wait(30) == 3
        started.wait_for("model.onnx answers with numbers that are not finite: its weights are broken")


# --- MXNet's environment, and the end of a training job -------------------------------------------------------------


def test_training_and_serving_environments_make_the_same_bits(in_mxnet: Run, in_serve: Run) -> None:
    assert in_mxnet(bodies.tensors_and_masks) == in_serve(bodies.tensors_and_masks)


def test_check_gives_the_graphs_logits_and_each_files_mask(in_serve: Run, base: Path, tmp_path: Path) -> None:
    sizes = [(90, 60), (1, 1), (7, 50)]
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.image").write_bytes(encode(quarters(*size), "PNG"))
    (tmp_path / "files.json").write_text(json.dumps([str(tmp_path / f"{number}.image") for number in range(3)]))
    tensors = np.random.default_rng(0).random((18, 3, SIDE, SIDE), np.float32)
    np.save(tmp_path / "tensors.npy", tensors)
    command = [python("serve"), "-m", "serve.check", "--model-dir", base / "model", "--work", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "serve.check: 18 tensors and 3 files through cell means\n"
    written = in_serve(bodies.outputs, tmp_path)
    assert written["tensor_outputs"] == {"logits": ["float32", ANY]}
    logits = np.array(written["tensor_outputs"]["logits"][1])
    means = tensors.reshape(18, 3, 8, 8, 8, 8).mean(axis=(3, 5))
    np.testing.assert_allclose(logits[:, :3], 20 * means, atol=1e-4)
    assert (logits[:, 3] == 1).all()
    assert list(written["file_outputs"]) == ["0", "1", "2"]
    for number, (width, height) in enumerate(sizes):
        kind, rows = written["file_outputs"][str(number)]
        assert (kind, np.shape(rows)) == ("uint8", (height, width))
    assert (np.array(written["file_outputs"]["0"][1])[sure(90, 60)] == truth(90, 60)[sure(90, 60)]).all()
