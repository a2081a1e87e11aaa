"""A user's own model in the server: its description, its location, and its requests."""

import base64
import io
import json
import socket
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serve.artifact import ArtifactError
from serve.http.errors import BadRequest, NotAcceptable, ServeError, UnsupportedMediaType
from serve.http.headers import choose_form
from serve.http.media import media_type
from serve.settings import Settings, SettingsError
from serve.user_model import discovery, placeholder_server, signature
from serve.user_model.signature import DTYPES, IMAGE_RANGES, Signature, Tensor, TensorModel
from serve.user_model.tensor_engine import TensorEngine

# ---- model.json -------------------------------------------------------------------------------------------------

sides = st.none() | st.integers(0, 1000)
tensors = st.builds(
    Tensor, st.text(min_size=1, max_size=9), st.sampled_from(DTYPES), st.none() | st.lists(sides).map(tuple)
)
signatures = st.builds(
    Signature,
    st.lists(tensors, max_size=3).map(tuple),
    st.lists(tensors, min_size=1, max_size=3).map(tuple),
    image_values=st.sampled_from(["", *IMAGE_RANGES]),
)


@given(st.dictionaries(st.text(min_size=1, max_size=9), signatures, min_size=1, max_size=3))
def test_every_description_is_read_back_as_written(tmp_path_factory: Any, drawn: dict[str, Signature]) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.onnx").touch()
    model = TensorModel("SavedModel 1", {name: replace(each, graph="model.onnx") for name, each in drawn.items()})
    signature.write(model, folder)
    assert signature.read(folder) == model
    assert signature.task(folder) == "tensors"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("task", "image-classification", "model.json: task is 'image-classification'; it must be 'tensors'."),
        ("format_version", 2, "model.json: format_version is 2, but this server reads 1."),
        ("signatures", {}, "model.json: signatures is {}; it must be an object with at least one signature."),
        ("signatures.a.graph", "../x.onnx", "signatures.a.graph is '../x.onnx'; it must be the name of an .onnx file"),
        (
            "signatures.a.image_values",
            "1..2",
            "signatures.a.image_values is '1..2'; it must be '' or '0..1' or '-1..1'",
        ),
        ("signatures.a.outputs", [], "signatures.a.outputs is []; it must be a list of at least one tensor."),
        ("signatures.a.inputs", [{"name": "x"}], "the key signatures.a.inputs.shape is missing."),
        (
            "signatures.a.inputs",
            [{"name": "x", "dtype": "f4", "shape": []}],
            "signatures.a.inputs.dtype is 'f4'; it mu",
        ),
        ("signatures.a.inputs", [{"name": "x", "dtype": "bool", "shape": [-1]}], "signatures.a.inputs.shape is [-1]"),
        ("signatures.a.inputs", [{"name": "x", "dtype": "bool", "shape": "2"}], "signatures.a.inputs.shape is '2'"),
    ],
)
def test_an_invalid_description_is_rejected_with_its_file_and_key(
    path: str, value: Any, message: str, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").touch()
    model_signature = Signature((Tensor("x", "float32", (None,)),), (Tensor("y", "float32", None),), "model.onnx")
    written = signature.write(TensorModel("test", {"a": model_signature}), tmp_path)
    document = json.loads(written.read_text())
    *parents, last = path.split(".")
    parent = document
    for key in parents:
        parent = parent[key]
    parent[last] = value
    written.write_text(json.dumps(document))
    with pytest.raises(ArtifactError) as refused:
        signature.read(tmp_path)
    assert message in str(refused.value)


def test_a_description_of_an_earlier_version_without_image_values_is_read(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    model_signature = Signature(
        (Tensor("x", "float32", (None,)),), (Tensor("y", "float32", None),), "model.onnx", "0..255"
    )
    written = signature.write(TensorModel("test", {"a": model_signature}), tmp_path)
    document = json.loads(written.read_text())
    del document["signatures"]["a"]["image_values"]
    written.write_text(json.dumps(document))
    assert signature.read(tmp_path).signatures["a"] == replace(model_signature, image_values="")


def test_a_missing_graph_is_reported_with_its_name(tmp_path: Path) -> None:
    model_signature = Signature((), (Tensor("y", "float32", ()),), "model-1.onnx")
    signature.write(TensorModel("test", {"a": model_signature}), tmp_path)
    with pytest.raises(ArtifactError, match=r"model-1\.onnx, which model\.json needs, is missing"):
        signature.read(tmp_path)


# ---- what a script saved ------------------------------------------------------------------------------------


def write_files(base: Path, *names: str) -> Path:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()
    return base


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["notes.txt", "1/variables/variables.index"], None),
        (["1/saved_model.pb"], "1"),
        (["1/saved_model.pb", "00003/saved_model.pb", "12/saved_model.pb"], "12"),
        (["export/Servo/1/saved_model.pb", "export/Servo/2/saved_model.pb"], "export/Servo/2"),
        (["1/saved_model.pb", "best.keras", "last.keras"], "1"),
        (["saved/saved_model.pb", "model/2/saved_model.pb"], "model/2"),
        (["saved/saved_model.pb"], "saved"),
        ([".hidden/1/saved_model.pb", "best.keras"], "best.keras"),
        (["model.keras", "checkpoints/3.keras"], "model.keras"),
        (["1/saved_model.pb", "model.onnx"], None),
    ],
)
def test_the_model_that_a_script_saved_is_found(names: list[str], expected: str | None, tmp_path: Path) -> None:
    model = discovery.find(write_files(tmp_path / "model", *names))
    assert (model and model.name) == (expected and f"model/{expected}")
    assert model is None or model.path == tmp_path / model.name


def test_a_saved_model_that_is_the_model_folder_itself_is_found(tmp_path: Path) -> None:
    assert discovery.find(write_files(tmp_path / "7", "saved_model.pb")) == discovery.UserModel(tmp_path / "7", "7")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["cats/1/saved_model.pb", "dogs/1/saved_model.pb"],
            "contains 2 models (model/cats/1, model/dogs/1): keep only",
        ),
        (["a/saved_model.pb", "b/saved_model.pb"], "contains 2 models (model/a, model/b)"),
        (["best.keras", "last.keras"], "contains 2 models (model/best.keras, model/last.keras)"),
    ],
)
def test_several_models_of_one_kind_are_rejected_with_their_names(
    names: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError) as refused:
        discovery.find(write_files(tmp_path / "model", *names))
    assert message in str(refused.value)


def test_no_model_is_found_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert discovery.find(tmp_path / "nowhere") is None


# ---- requests ---------------------------------------------------------------------------------------------------


class Double:
    """A stand-in for a framework. It returns the mean of each row and keeps its input."""

    def __init__(self, *shape: int | None, dtype: str = "float32", pixels: str = "", graphs: str = "") -> None:
        outputs = (Tensor("y", "float32", (None, 1)),)
        model_signature = Signature((Tensor("x", dtype, shape),), outputs, image_values=graphs)
        self.engine = TensorEngine(TensorModel("double", {"serving_default": model_signature}), self.run, pixels)
        self.received = np.zeros(0)

    def run(self, name: str, inputs: Any) -> dict[str, np.ndarray]:
        self.received = inputs["x"]
        if self.received.dtype == object:
            return {"y": np.zeros((len(self.received), 1), np.float32)}
        return {"y": self.received.reshape(len(self.received), -1).mean(axis=1, keepdims=True).astype(np.float32)}

    def request(self, data: bytes, media: str | None = None, accept: str | None = None, attributes: Any = ()) -> Any:
        form = choose_form(accept, self.engine.forms(batch=False))
        return json.loads(self.engine.respond(self.engine.read(data, media_type(media), attributes), form))


def photo(*colour: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(file, kind)
    return file.getvalue()


ROWS = b'{"instances": [[1, 3]]}'


@pytest.mark.parametrize(
    "media",
    ["application/json", "Application/JSON; charset=utf-8", None, "", "application/octet-stream",
     "application/x-www-form-urlencoded", "application/jsonlines"],
)  # fmt: skip
def test_json_is_recognised_by_its_type_or_else_by_its_first_byte(media: str | None) -> None:
    assert Double(None, 2).request(ROWS, media) == {"predictions": [[2]]}


@pytest.mark.parametrize("media", ["image/png", "application/x-image", None, "application/octet-stream"])
@pytest.mark.parametrize("shape", [(None, 8, 6, 3), (None, 3, 8, 6), (1, 8, 6, 3)])
def test_an_image_becomes_the_only_input_with_its_channels_first_or_last(shape: Any, media: str | None) -> None:
    double = Double(*shape)
    assert double.request(photo(255, 0, 51), media) == {"predictions": [[pytest.approx(1.2 / 3)]]}
    assert double.received.shape == (1, *shape[1:])
    colour = double.received[0, 0, 0] if shape[3] == 3 else double.received[0, :, 0, 0]
    np.testing.assert_allclose(colour, [1, 0, 0.2])


@pytest.mark.parametrize(("pixels", "mean"), [("0..1", 0.2), ("-1..1", -0.6), ("0..255", 51)])
def test_the_values_of_a_float_image_are_in_the_range_of_the_setting(pixels: str, mean: float) -> None:
    response = Double(None, 8, 8, 3, pixels=pixels).request(photo(51, 51, 51), "image/png")
    assert response == {"predictions": [[pytest.approx(mean)]]}


@pytest.mark.parametrize(
    ("dtype", "graphs", "pixels", "mean", "message"),
    [
        ("float32", "", "", 0.2, "0..1, because its graph has no known scaling; set VISION_IMAGE_VALUES if it was"),
        ("float32", "0..255", "", 51, "0..255, because its graph expects this range; set VISION_IMAGE_VALUES to"),
        ("float16", "-1..1", "", -0.6, "-1..1, because its graph expects this range; set VISION_IMAGE_VALUES to"),
        ("float32", "0..255", "0..1", 0.2, "0..1, as set by VISION_IMAGE_VALUES, although its graph expects 0..255"),
        ("float32", "", "0..255", 51, "0..255, as set by VISION_IMAGE_VALUES"),
        ("uint8", "", "-1..1", 51, "0..255, because its input is uint8"),
    ],
)
def test_a_photo_has_the_range_that_the_graph_scales_unless_the_variable_sets_another(
    dtype: str, graphs: str, pixels: str, mean: float, message: str
) -> None:
    double = Double(None, 8, 8, 3, dtype=dtype, pixels=pixels, graphs=graphs)
    response = {"predictions": [[pytest.approx(mean, rel=1e-3)]]}
    assert double.request(photo(51, 51, 51), "image/png") == response
    assert str(double.engine.image_values_message()).startswith(f"images are sent to the model as values {message}")


def test_no_range_of_values_is_reported_for_a_model_that_takes_no_pixels() -> None:
    assert Double(None, 2).engine.image_values_message() is None
    assert Double(None, dtype="string").engine.image_values_message() is None


class Decoder(Double):
    """A model that takes the bytes of image files, and rejects other bytes as TensorFlow does."""

    def run(self, name: str, inputs: Any) -> dict[str, np.ndarray]:
        if not all(data.startswith(b"\x89PNG") for data in inputs["x"].ravel()):
            raise BadRequest("The model cannot compute this input: Unknown image file format.")
        return super().run(name, inputs)


def test_base64_sent_as_text_to_a_model_of_image_files_is_rejected_with_how_to_send_it() -> None:
    decoder, encoded = Decoder(None, dtype="string"), base64.b64encode(photo(1, 2, 3)).decode()
    message = (
        'The text looks like an image in base64: send {"b64": "..."} in JSON, or the bytes of the file as image/png. '
    )
    for body, media in (
        (json.dumps({"instances": [encoded]}).encode(), "application/json"),
        (encoded.encode(), "image/png"),
        (f'"{encoded}"'.encode(), None),
    ):
        with pytest.raises(BadRequest) as refused:
            decoder.request(body, media)
        assert str(refused.value) == message + "The model cannot compute this input: Unknown image file format."
    correct = json.dumps({"instances": [{"b64": encoded}]}).encode()
    assert decoder.request(correct, "application/json") == {"predictions": [[0]]}
    with pytest.raises(BadRequest) as refused:
        decoder.request(b'{"instances": ["hello"]}', "application/json")
    assert str(refused.value) == "The model cannot compute this input: Unknown image file format."


def test_an_input_of_uint8_gets_whole_pixels_and_one_of_text_gets_the_file() -> None:
    double = Double(None, 8, 8, 1, dtype="uint8", pixels="-1..1")
    assert double.request(photo(51, 51, 51), "image/png") == {"predictions": [[51]]}
    double = Double(None, dtype="string")
    assert double.request(photo(1, 2, 3), "image/png") == {"predictions": [[0]]}
    assert double.received.tolist() == [photo(1, 2, 3)]


@pytest.mark.parametrize(
    ("shape", "data", "media", "error", "message"),
    [
        ((None, 2), photo(1, 2, 3), "image/png", UnsupportedMediaType,
         "This model does not accept images (tensors double, serving_default: x float32 (any, 2) -> y float32 (any,"),
        ((None, None, None, 3), photo(1, 2, 3), "image/png", UnsupportedMediaType,
         "This model does not accept images (tensors double, serving_default: x float32 (any, any, any, 3) -> "
         "y float32 (any, 1)); its height and width must be fixed: save it with Input((H, W, 3)), or send "
         "application/json."),
        ((None, 8, 8, 3), b"hello", "image/png", BadRequest, "The body is not an image: it starts with 'hello'"),
        ((None, 8, 8, 3), b"x", "application/zip", UnsupportedMediaType, "Content-Type application/zip is not"),
        ((None, 2), b"hello", None, BadRequest, "The body is not JSON (line 1, column 1"),
    ],
)  # fmt: skip
def test_a_body_that_the_model_does_not_accept_is_rejected(
    shape: Any, data: bytes, media: str | None, error: type[ServeError], message: str
) -> None:
    with pytest.raises(error) as refused:
        Double(*shape).request(data, media)
    assert str(refused.value).startswith(message)


def test_accept_and_method_are_checked_before_the_model_runs() -> None:
    with pytest.raises(NotAcceptable):
        Double(None, 2).request(ROWS, accept="image/png")
    with pytest.raises(BadRequest, match="The custom attribute tfs-method is 'classify'; it must be predict"):
        Double(None, 2).request(ROWS, attributes=[("tfs-method", "classify")])
    assert Double(None, 2).request(ROWS, attributes=[("tfs-model-name", "x"), ("tfs-method", "predict")])


def test_json_lines_end_with_a_line_feed() -> None:
    engine = Double(None, 2).engine
    form = choose_form("application/jsonlines", engine.forms(batch=True))
    response = engine.respond(engine.read(ROWS, "", ()), form)
    assert (form.media, response) == ("application/jsonlines", '{"predictions": [[2.0]]}\n')


# ---- while a model is being converted ---------------------------------------------------------------------------


def test_every_request_during_a_conversion_gets_503_and_the_socket_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with placeholder_server.running(listener):
            for path, data in (("/ping", None), ("/invocations", b"x" * 1_000_000)):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(url + path, data, timeout=10)
                with refused.value as response:
                    assert (response.code, response.headers["Retry-After"]) == (503, "1")
                    assert json.load(response) == {
                        "status": 503,
                        "reason": placeholder_server.REASON,
                        "error": placeholder_server.REASON,
                    }
        with socket.create_connection(listener.getsockname(), timeout=10):
            assert listener.accept()[0].close() is None


# ---- settings ---------------------------------------------------------------------------------------------------


def test_engine_and_image_values_are_chosen_by_name_and_other_values_are_rejected() -> None:
    assert Settings.from_environment({"VISION_ENGINE": " TensorFlow "}).engine == "tensorflow"
    assert Settings.from_environment({"VISION_ENGINE": ""}).engine == "onnx"
    assert Settings.from_environment({"VISION_IMAGE_VALUES": "0..255"}).image_values == "0..255"
    with pytest.raises(SettingsError, match=r"VISION_IMAGE_VALUES is '0-1'; it must be 0\.\.1 or -1\.\.1 or 0\.\.255"):
        Settings.from_environment({"VISION_IMAGE_VALUES": "0-1"})
