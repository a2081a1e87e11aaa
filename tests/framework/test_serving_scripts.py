"""What a user's own script has left, served: converted for ONNX Runtime at start, or by TensorFlow itself."""

import base64
import io
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from serve import left
from tests.framework import bodies_scripts as bodies
from tests.server import Server

Run = Callable[..., Any]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def left_models(in_tensorflow: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`root`, the folder of bodies.make_models, and what it returned."""
    root = tmp_path_factory.mktemp("left")
    return {"root": root} | in_tensorflow(bodies.make_models, root)


@pytest.fixture(scope="module")
def sums(left_models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has converted the model of two signatures, the second of its two versions."""
    with started(left_models, "sums", tmp_path_factory.mktemp("tmp")) as server:
        yield server


def started(models: dict[str, Any], name: str, temporary: Path, **variables: str) -> Server:
    return Server(models["root"] / name, TMPDIR=str(temporary), **variables)


def ready(server: Server) -> Server:
    server.wait_for("/ping answers 200", 600)
    return server


def ask(server: Server, document: Any, headers: dict[str, str] = JSON) -> tuple[int, Any]:
    status, _, body = server.ask("POST", "/invocations", json.dumps(document).encode(), headers)
    return status, json.loads(body)


def png(*colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 30), colour).save(file, "PNG")
    return file.getvalue()


# ---- under ONNX Runtime -----------------------------------------------------------------------------------------


def test_a_saved_model_is_converted_while_ping_says_503_and_then_answers_as_tensorflow_serving(sums: Server) -> None:
    sums.wait_for("model/export/2 is being converted for ONNX Runtime")
    status, _, body = sums.ask("GET", "/ping")
    assert status in (200, 503)  # a machine may be quick
    assert status == 200 or "The model is being converted" in json.loads(body)["reason"]
    ready(sums)
    assert sums.wait_for("model/export/2 is converted: 4 checks, largest difference from TensorFlow ")
    assert ask(sums, {"instances": [[1, 2], [3, 4]]}) == (200, {"predictions": [[41.0], [83.0]]})
    assert ask(sums, {"inputs": {"x": [[1, 2]]}}) == (200, {"outputs": [[41.0]]})
    assert ask(sums, [1, 2]) == (200, {"predictions": [[41.0]]})


def test_the_highest_number_is_served_and_every_signature_by_its_name(sums: Server) -> None:
    rows = {"signature_name": "both", "instances": [{"a": 1, "b": 0.5}, {"a": 2, "b": 4}]}
    expected = [{"larger": False, "sum": 1.5}, {"larger": True, "sum": 6.0}]
    assert ask(ready(sums), rows) == (200, {"predictions": expected})


def test_errors_are_json_with_the_reason(sums: Server) -> None:
    status, answer = ask(ready(sums), {"instances": [[1, 2, 3]]})
    assert (status, answer["status"]) == (400, 400)
    assert answer["reason"].startswith("\"instances\" has the shape (1, 3), input 'x' takes float32 (any, 2)")
    status, answer = ask(sums, {"signature_name": "both", "inputs": {"a": [1, 2, 3], "b": [1, 2]}})
    assert status == 400
    assert answer["reason"].startswith("The model cannot compute this input: ")
    sums.wait_for("400 POST /invocations: The model cannot compute this input: .withheld.")
    assert not [line for line in sums.log() if "onnxruntime" in line], "ONNX Runtime's own log is not escaped"
    assert sums.ask("POST", "/invocations", b"", {"Content-Type": "application/zip"})[0] == 415


@pytest.mark.parametrize("name", ["keras3", "keras2"])
def test_a_keras_file_is_served_by_whichever_keras_wrote_it(
    name: str, left_models: dict[str, Any], tmp_path: Path
) -> None:
    photo = [[[0.5] * 3] * 16] * 16
    with started(left_models, name, tmp_path) as server:
        status, answer = ask(ready(server), {"instances": [photo]})
        assert (status, answer) == (200, {"predictions": [[pytest.approx(left_models[name], abs=1e-5)]]})
        server.wait_for("under ONNX Runtime")
        assert list(tmp_path.iterdir()), "what was converted lies under the temporary folder"
        server.terminate()
        assert server.wait(60) == 0
    assert list(tmp_path.iterdir()) == [], "and is removed at the end"


def test_the_values_that_a_photo_needs_are_found_in_the_graph_whatever_scales_them(
    in_tensorflow: Run, tmp_path: Path
) -> None:
    expected = {
        "nothing": "",
        "Rescaling(1/255)": "0..255",
        "Rescaling(1/127.5, -1)": "0..255",
        "Rescaling(1/255) of uint8": "",  # its pixels are 0..255 whatever the graph does
        "Rescaling(2, -1)": "0..1",
        "Rescaling(0.5, 0.5)": "-1..1",
        "Rescaling(127.5, 127.5)": "-1..1",
        "Normalization of 0..255": "0..255",
        "Normalization of 0..1": "0..1",
        "augmentation, Rescaling(1/255)": "0..255",
        "Resizing, a model of Rescaling(1/255)": "0..255",
        "ZeroPadding, Rescaling(1/255)": "0..255",
        "BatchNormalization of 0..255": "0..255",
        "preprocess_input of mobilenet_v2": "0..255",
        "preprocess_input of resnet50": "0..255",
        "preprocess_input of densenet": "0..255",
        "only Rescaling(1/255), a mean": "0..255",
        "only a sigmoid": "",
    }
    found = in_tensorflow(bodies.image_values_found, tmp_path)
    by_keras = {f"{keras} {name}": values for keras in ("keras2", "keras3") for name, values in expected.items()}
    assert found == {**by_keras, "tensorflow1": "0..255"}


@pytest.mark.parametrize(("name", "engine"), [("scaled2", "onnx"), ("scaled3", "tensorflow")])
def test_a_photo_is_sent_as_0_to_255_to_a_model_that_scales_it_itself(
    name: str, engine: str, left_models: dict[str, Any], tmp_path: Path
) -> None:
    with started(left_models, name, tmp_path, VISION_ENGINE=engine) as server:
        ready(server)
        spread = 1 if name == "scaled2" else 2  # of what the scaling makes of 0 and 255
        others, own = (math.exp(4 * value) for value in (0, spread))
        for index, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
            _, _, body = server.ask("POST", "/invocations", png(*colour), {"Content-Type": "image/png"})
            wanted = [(own if place == index else others) / (own + 2 * others) for place in range(3)]
            assert json.loads(body) == {"predictions": [pytest.approx(wanted, abs=1e-4)]}
        assert "values 0..255, because its graph scales those" in server.wait_for("photos are sent to the model")


def test_sigterm_during_a_conversion_ends_with_0_and_leaves_nothing(
    left_models: dict[str, Any], tmp_path: Path
) -> None:
    with started(left_models, "sums", tmp_path) as server:
        server.wait_for("is being converted")
        server.terminate()
        assert server.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


# ---- under TensorFlow -------------------------------------------------------------------------------------------


def test_a_model_of_text_is_served_by_tensorflow_which_the_log_says_why(
    left_models: dict[str, Any], tmp_path: Path
) -> None:
    with started(left_models, "words", tmp_path) as server:
        ready(server)
        assert "has text in word, upper, which ONNX Runtime does not compute" in server.wait_for("by TensorFlow, more")
        expected = [{"length": 5, "upper": "HELLO"}, {"length": 0, "upper": ""}]
        assert ask(server, {"instances": ["hello", ""]}) == (200, {"predictions": expected})
        status, answer = ask(server, {"instances": [1]})
        assert (status, answer["reason"].split(":")[0]) == (400, "\"instances\" holds '1'")
        photo = base64.b64encode(png(51, 51, 51)).decode()
        status, answer = ask(server, {"signature_name": "brightness", "instances": [photo]})
        says = 'The text looks like an image in base64: send {"b64": "..."} in JSON, or the bytes of the file as image/'
        assert (status, answer["reason"].startswith(says)) == (400, True), answer
        assert ask(server, {"signature_name": "brightness", "instances": [{"b64": photo}]})[1] == {"predictions": [51]}
        server.terminate()
        assert server.wait(60) == 0


def test_a_saved_model_of_tensorflow_1_is_served_by_its_signatures(left_models: dict[str, Any], tmp_path: Path) -> None:
    with started(left_models, "half", tmp_path) as server:
        ready(server)
        assert "it is a SavedModel of TensorFlow 1, which is not converted" in server.wait_for("by TensorFlow, more")
        assert ask(server, {"instances": [1.0, 2.0, 5.0]}) == (200, {"predictions": [3.5, 4.0, 5.5]})
        # Of an input of any rank a flat array is one row, as in SageMaker's image.
        assert ask(server, [1.0, 2.0, 5.0]) == (200, {"predictions": [[3.5, 4.0, 5.5]]})
        example = bytes.fromhex("0a0f0a0d0a0178120812060a0400000040")  # a tf.Example with x = 2.0
        encoded = {"b64": base64.b64encode(example).decode()}
        regress = {"signature_name": "regress_x_to_y", "instances": [encoded]}
        assert ask(server, regress) == (200, {"predictions": [[4.0]]})
        status, answer = ask(server, {"signature_name": "regress_x_to_y", "instances": ["no example"]})
        assert (status, answer["reason"].split(":")[0]) == (400, "The model cannot compute this input")


def test_a_graph_that_disagrees_with_tensorflow_is_not_served(left_models: dict[str, Any], tmp_path: Path) -> None:
    with started(left_models, "chance", tmp_path) as server:
        ready(server)
        assert "output 'y' of signature 'serving_default' differs from TensorFlow's" in server.wait_for("by TensorFlow")
        status, answer = ask(server, [[1, 2]])
        assert status == 200
        assert 1 <= answer["predictions"][0][0] <= 2


def test_tensorflow_can_be_asked_for_and_answers_the_same(left_models: dict[str, Any], tmp_path: Path) -> None:
    with started(left_models, "keras3", tmp_path, VISION_ENGINE="tensorflow") as server:
        expected = {"predictions": [[pytest.approx(left_models["keras3"], abs=1e-5)]]}
        assert ask(ready(server), [[[[0.5] * 3] * 16] * 16]) == (200, expected)
        server.wait_for("under TensorFlow")


def test_tensorflow_quotes_nothing_of_a_request_in_its_own_log(
    in_tensorflow: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    in_tensorflow(bodies.compute_what_fails)
    assert "SECRET" not in capsys.readouterr().out


# ---- not at all -------------------------------------------------------------------------------------------------


def test_a_model_that_nothing_can_load_ends_the_process_with_one_sentence(
    left_models: dict[str, Any], tmp_path: Path
) -> None:
    broken = tmp_path / "model" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"not a model")
    for base, says in (
        (tmp_path, f"serve: {broken} cannot be loaded: "),
        (left_models["root"] / "mute", "1 has no signature, so nothing in it can be called: save it with Keras's"),
    ):
        with Server(base, TMPDIR=str(tmp_path)) as server:
            assert server.wait(600) == 1
            assert server.wait_for("serve: ")
            assert says in server.log()[-2]
    assert not list(tmp_path.glob("serve-converted-*"))


def test_an_image_without_tensorflow_refuses_and_names_the_one_that_has_it(
    left_models: dict[str, Any], tmp_path: Path
) -> None:
    """A serving environment with nothing beside it, as in the image inference."""
    alone = tmp_path / "alone" / "serve"
    shutil.copytree(Path(".venvs/serve"), alone, symlinks=True, ignore=shutil.ignore_patterns("lib*", "include"))
    (alone / "lib").symlink_to(Path(".venvs/serve/lib").resolve())
    base = left_models["root"] / "sums"
    with Server(base, interpreter=alone / "bin" / "python") as server:
        assert server.wait(60) == 1
        line = server.wait_for("serve: ")
    says = "is a model of TensorFlow's without a model.onnx, and this image has no TensorFlow to convert it"
    assert f"{base / 'model' / 'export' / '2'} {says}" in line
    assert line.endswith(f"Serve it with the image {left.IMAGE}.")
