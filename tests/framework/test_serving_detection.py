"""The real server on a detector whose boxes are worked out by hand: the cells of a 4 x 4 grid that hold a colour."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image

from tests.environments import REPOSITORY, python
from tests.framework import bodies_serving as bodies
from tests.photos import TURNS, encode, laid_down
from tests.server import Server

Run = Callable[..., Any]

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


@pytest.fixture(scope="module")
def base(in_mxnet: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like /opt/ml with the detector."""
    folder = tmp_path_factory.mktemp("detector")
    in_mxnet(bodies.make_detector, folder / "model", "")
    return folder


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    """One server for all questions."""
    with Server(base) as started:
        yield started.wait_until_ready()


def photo(*cells: tuple[tuple[int, ...], int, int], width: int = 640, height: int = 320) -> Image.Image:
    """Black but for cells, each given as colour, column and row of the 4 x 4 grid that lies over the upright photo."""
    image = Image.new("RGB", (width, height))
    for colour, column, row in cells:
        box = (column * width // 4, row * height // 4, (column + 1) * width // 4, (row + 1) * height // 4)
        image.paste(colour, box)
    return image


def ask(server: Server, data: bytes, **headers: str) -> Any:
    """The JSON of an answer; `headers` with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, answered, body = server.ask("POST", "/invocations", data, named)
    assert status == 200, body
    assert answered["content-type"] == "application/json"
    assert int(answered["content-length"]) == len(body)
    return json.loads(body)


def boxes(server: Server, image: Image.Image, **options: Any) -> list[list[float]]:
    return ask(server, encode(image, **options))["prediction"]


def detection(index: int, score: float, *box: float) -> Any:
    return pytest.approx([index, score, *box], abs=0.02)


# --- boxes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(640, 320), (320, 640), (16, 16), (1000, 60), (33, 1500)])
def test_box_is_in_fractions_of_a_photo_of_any_shape_and_its_double_is_suppressed(
    server: Server, width: int, height: int
) -> None:
    found = boxes(server, photo((RED, 2, 1), width=width, height=height), kind="PNG")
    assert found == [detection(0, 1, 0.5, 0.25, 0.75, 0.5)]


@pytest.mark.parametrize("orientation", TURNS)
def test_box_is_in_fractions_of_the_upright_photo_whatever_its_exif_orientation(
    server: Server, orientation: int
) -> None:
    upright = photo((RED, 2, 1), (GREEN, 3, 3))
    data = laid_down(upright, orientation)
    assert sorted(ask(server, data)["prediction"]) == [
        detection(0, 1, 0.5, 0.25, 0.75, 0.5),
        detection(1, 1, 0.75, 0.75, 1, 1),
    ]
    noted = ask(server, data, Accept="application/json;annotation=1")
    assert noted["image_size"] == [{"width": 640, "height": 320, "depth": 3}]
    pixels = [[note["class_id"], *list(note.values())[2:]] for note in noted["annotations"]]
    assert sorted(pixels) == [[0, 320, 80, 160, 80], [1, 480, 240, 160, 80]]
    assert all(type(number) is int for numbers in pixels for number in numbers)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_greyscale_photo_is_read_in_colour(server: Server, kind: str) -> None:
    grey = encode(photo((WHITE, 0, 3)).convert("L"), kind)
    assert ask(server, grey)["prediction"] == [detection(index, 1, 0, 0.75, 0.25, 1) for index in (0, 1, 2)]
    assert ask(server, grey, Accept="application/json;annotation=1")["image_size"][0]["depth"] == 3


def test_rows_fall_in_score(server: Server) -> None:
    cells = (((100, 0, 0), 0, 0), ((0, 250, 0), 2, 0), ((0, 0, 150), 0, 2), ((200, 50, 0), 2, 2))
    found = boxes(server, photo(*cells))
    scores = [score for _, score, *_ in found]
    assert scores == sorted(scores, reverse=True)
    places = [(int(index), xmin, ymin) for index, _, xmin, ymin, *_ in found]
    assert places == [(1, 0.5, 0), (0, 0.5, 0.5), (2, 0, 0.5), (0, 0, 0), (1, 0.5, 0.5)]


# --- forms ----------------------------------------------------------------------------------------------------------


def test_nothing_found_is_an_empty_list(server: Server) -> None:
    black = encode(photo())
    assert server.ask("POST", "/invocations", black)[2] == b'{"prediction": []}'
    assert (
        server.ask(
            "POST", "/invocations", encode(photo((RED, 1, 1))), {"X-Amzn-SageMaker-Custom-Attributes": "threshold=1"}
        )[2]
        == b'{"prediction": []}'
    )
    assert ask(server, black, Accept="application/json;verbose") == {"prediction": []}
    assert ask(server, black, Accept="application/json;annotation=1")["annotations"] == []


def test_verbose_answer_names_the_classes(server: Server) -> None:
    found = ask(server, encode(photo((GREEN, 2, 1))), Accept="application/json;verbose")["prediction"][0]
    box = {"left": 0.5, "top": 0.25, "width": 0.25, "height": 0.25}
    assert found == {"label": "green", "class_id": 1, "score": pytest.approx(1, abs=0.02), "box": box}


def test_batch_transform_gets_the_endpoints_form(base: Path) -> None:
    with Server(base, SAGEMAKER_BATCH="True") as started:
        found = boxes(started.wait_until_ready(), photo((RED, 2, 1)))
    assert found[0] == detection(0, 1, 0.5, 0.25, 0.75, 0.5)


# --- custom attributes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("max_detections=1", 1),
        ("threshold=0.5,max_detections=20", 3),
        ("threshold=0.5;max_detections=2", 2),
        ("x=y", 3),
    ],
)
def test_custom_attributes_cut_the_answer_from_its_end(server: Server, header: str, count: int) -> None:
    data = encode(photo((RED, 0, 0), (GREEN, 2, 0), ((0, 0, 200), 0, 2)), "PNG")
    everything = ask(server, data)["prediction"]
    found = ask(server, data, X_Amzn_SageMaker_Custom_Attributes=header)["prediction"]
    assert len(everything) == 3
    assert found == everything[:count]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("threshold=high", "The custom attribute threshold is 'high', it must be a number from 0 to 1."),
        ("threshold=0.5,max_detections=-3", "The custom attribute max_detections is '-3', it must be a whole number"),
        ("max_detections=1;max_detections=2", "The custom attribute max_detections is given twice"),
    ],
)
def test_bad_custom_attribute_is_400_with_a_reason_and_the_next_is_answered(
    server: Server, header: str, says: str
) -> None:
    data = encode(photo((RED, 2, 1)))
    status, headers, body = server.ask(
        "POST", "/invocations", data, {"X-Amzn-SageMaker-Custom-Attributes": header, "Accept": "*/*"}
    )
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["status"] == 400
    assert json.loads(body)["reason"].startswith(says)
    assert ask(server, data)["prediction"]


def test_accept_that_a_detector_cannot_meet_is_406_with_what_it_can(server: Server) -> None:
    status, _, body = server.ask("POST", "/invocations", encode(photo()), {"Accept": "image/png"})
    assert status == 406
    assert "application/json;annotation" in json.loads(body)["reason"]


# --- broken models --------------------------------------------------------------------------------------------------


def test_detector_that_does_not_fit_its_description_ends_the_process(in_mxnet: Run, tmp_path: Path) -> None:
    in_mxnet(bodies.make_detector, tmp_path / "model", "classes")
    with Server(tmp_path) as started:
        assert started.wait(30) == 3
        started.wait_for(r"model.onnx answers float32 \(1, 32, 3\) and float32 \(1, 32, 4\) .* has 4 class_names")


def test_scores_that_are_not_finite_end_the_process(in_mxnet: Run, tmp_path: Path) -> None:
    in_mxnet(bodies.make_detector, tmp_path / "model", "nan")
    with Server(tmp_path) as started:
        assert started.wait(30) == 3
        started.wait_for("model.onnx answers with numbers that are not finite: its weights are broken")


# --- MXNet, and the end of a training job ---------------------------------------------------------------------------


def test_detections_are_those_of_mxnets_box_nms(in_mxnet: Run) -> None:
    cases = [  # anchors, classes, threshold, top_k, score_floor
        (60, 1, 0.45, 400, 0.01),
        (400, 3, 0.45, 400, 0.01),
        (3000, 20, 0.45, 400, 0.01),
        (3000, 2, 0.3, 100, 0.2),
        (500, 4, 0.7, 50, 0.5),
    ]
    for case, (ours, mxnets) in zip(cases, in_mxnet(bodies.select_and_box_nms, cases), strict=True):
        assert 0 < len(ours) < case[3], case
        np.testing.assert_allclose(ours, mxnets, atol=1e-6, err_msg=str(case))


def test_check_gives_the_graphs_outputs_and_each_files_detections(in_serve: Run, base: Path, tmp_path: Path) -> None:
    files = [encode(photo((RED, 2, 1)), "PNG"), encode(photo(), "PNG")]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.image").write_bytes(data)
    (tmp_path / "files.json").write_text(json.dumps([str(tmp_path / f"{number}.image") for number in range(2)]))
    tensors = np.random.default_rng(0).random((18, 3, 16, 16), np.float32)
    np.save(tmp_path / "tensors.npy", tensors)
    command = [python("serve"), "-m", "serve.check", "--model-dir", base / "model", "--work", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "serve.check: 18 tensors and 2 files through cell means\n"
    written = in_serve(bodies.outputs, tmp_path)
    assert written["tensor_outputs"] == {"scores": ["float32", ANY], "boxes": ["float32", ANY]}
    inner = tensors.reshape(18, 3, 4, 4, 4, 4)[:, :, :, 1:3, :, 1:3]
    cells = inner.mean(axis=(3, 5)).reshape(18, 3, 16).transpose(0, 2, 1)
    scores = np.array(written["tensor_outputs"]["scores"][1])
    np.testing.assert_allclose(scores, np.concatenate([cells, cells * 0.9], axis=1), atol=1e-5)
    assert np.array(written["tensor_outputs"]["boxes"][1]).shape == (18, 32, 4)
    assert written["file_outputs"] == {"0": ["float32", ANY], "1": ["float32", []]}
    assert written["file_outputs"]["0"][1][0] == detection(0, 1, 0.5, 0.25, 0.75, 0.5)
