"""Models of user scripts that ONNX Runtime cannot run: TensorFlow serves them, or they are rejected."""

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from PIL import Image

from serve.artifact import ArtifactError
from serve.user_model import convert, discovery, saved_model
from tests.environments import python
from tests.photos import encode
from tests.scrapes import samples, value
from tests.server import Server
from tests.tensorflow.served import predict, ready


class Words(tf.Module):
    """A model with functions of text."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="word")])
    def lengths(self, word: Any) -> dict[str, Any]:
        return {"length": tf.strings.length(word), "upper": tf.strings.upper(word)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="photo")])
    def brightness(self, photo: Any) -> dict[str, Any]:
        mean = tf.map_fn(lambda png: tf.reduce_mean(tf.io.decode_png(png)), photo, fn_output_signature=tf.uint8)
        return {"mean": mean}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="digits")])
    def numbers(self, digits: Any) -> dict[str, Any]:
        return {"number": tf.strings.to_number(digits)}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for a model of text, with TensorFlow's default log level."""
    base, model = tmp_path_factory.mktemp("words"), Words()
    signatures = {"serving_default": model.lengths, "brightness": model.brightness, "numbers": model.numbers}
    tf.saved_model.save(model, str(base / "model" / "1"), signatures=signatures)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
        with Server(base, TMPDIR=str(base)) as server:
            yield ready(server)


def test_a_model_of_text_is_served_by_tensorflow_and_the_log_gives_the_reason(words: Server) -> None:
    line = words.wait_for("with TensorFlow, which is slower")
    assert "has text in word, upper, which ONNX Runtime does not support" in line
    expected = [{"length": 5, "upper": "HELLO"}, {"length": 0, "upper": ""}]
    assert predict(words, {"instances": ["hello", ""]}) == (200, {"predictions": expected})
    status, response = predict(words, {"instances": [1]})
    assert (status, response["reason"].split(":")[0]) == (400, "\"instances\" contains '1'")


def test_an_image_for_a_model_of_text_is_sent_as_b64(words: Server) -> None:
    photo = base64.b64encode(encode(Image.new("RGB", (20, 30), (51, 51, 51)), "PNG")).decode()
    assert predict(words, {"signature_name": "brightness", "instances": [{"b64": photo}]}) == (
        200,
        {"predictions": [51]},
    )
    status, response = predict(words, {"signature_name": "brightness", "instances": [photo]})
    reason = 'The text looks like an image in base64: send {"b64": "..."} in JSON, or the bytes of the file as image/'
    assert (status, response["reason"][: len(reason)]) == (400, reason)


def test_requests_to_a_tensorflow_model_are_counted_with_their_stages(words: Server) -> None:
    def counts() -> list[float]:
        page = samples(words.request("GET", "/metrics").body)
        stages = ("receive", "queue", "decode", "model", "encode")
        return [value(page, "vision_stage_duration_seconds_count", model="model", stage=stage) for stage in stages]

    before = counts()
    assert predict(words, {"instances": ["hello"]})[0] == 200
    assert [after - once for after, once in zip(counts(), before, strict=True)] == [1, 1, 1, 1, 1]


def test_tensorflows_log_quotes_no_part_of_a_request(words: Server) -> None:
    status, response = predict(words, {"signature_name": "numbers", "instances": ["SECRET"]})
    assert (status, response["reason"].split(":")[0]) == (400, "The model cannot compute this input")
    words.wait_for("400 POST /invocations: The model cannot compute this input")
    assert not [line for line in words.log() if "SECRET" in line]


def half_plus_three(folder: Path) -> None:
    """Save x / 2 + 3 in TensorFlow 1's format: reference variables, a tf.Example signature, and several tag sets."""
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        half, three = (v1.Variable(value, use_resource=False) for value in (0.5, 3.0))
        serialized = v1.placeholder(tf.string, name="tf_example")
        parsed = v1.parse_example(serialized, {"x": v1.FixedLenFeature([1], tf.float32)})
        x = tf.identity(parsed["x"], name="x")
        y = tf.identity(half * x + three, name="y")
        info = v1.saved_model.build_tensor_info
        predict = v1.saved_model.build_signature_def({"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict")
        regress = v1.saved_model.build_signature_def(
            {"inputs": info(serialized)}, {"outputs": info(y)}, "tensorflow/serving/regress"
        )
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signatures = {"serving_default": predict, "regress_x_to_y": regress}
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.add_meta_graph(["serve", "gpu"], signatures)
        builder.save()


def test_a_tensorflow_1_saved_model_is_served_with_its_signatures(tmp_path: Path) -> None:
    half_plus_three(tmp_path / "model" / "00000123")
    with Server(tmp_path, TMPDIR=str(tmp_path), VISION_ENGINE="tensorflow") as server:
        ready(server)
        assert predict(server, {"instances": [1.0, 2.0, 5.0]}) == (200, {"predictions": [3.5, 4.0, 5.5]})
        # A flat array is one row of an input of any rank, as in SageMaker's image.
        assert predict(server, [1.0, 2.0, 5.0]) == (200, {"predictions": [[3.5, 4.0, 5.5]]})
        example = tf.train.Example()
        example.features.feature["x"].float_list.value.append(2.0)
        encoded = {"b64": base64.b64encode(example.SerializeToString()).decode()}
        regress = {"signature_name": "regress_x_to_y", "instances": [encoded]}
        assert predict(server, regress) == (200, {"predictions": [[4.0]]})
        status, response = predict(server, {"signature_name": "regress_x_to_y", "instances": ["no example"]})
        assert (status, response["reason"].split(":")[0]) == (400, "The model cannot compute this input")


def test_a_tensorflow_1_saved_model_is_not_converted(tmp_path: Path) -> None:
    half_plus_three(tmp_path / "half")
    with pytest.raises(convert.ConversionError, match=r"^it is a SavedModel of TensorFlow 1, which is not supported$"):
        convert.convert(saved_model.load(tmp_path / "half", "model/1"), tmp_path)


class Awkward(tf.Module):
    """A model with functions that cannot be converted, or that cannot be compared after conversion."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def of_six_rows(self, x: Any) -> dict[str, Any]:
        return {"y": tf.gather(x, 5)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def of_any_rank(self, x: Any) -> dict[str, Any]:
        return {"y": x + 1}

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def of_one_name(self, x: Any) -> dict[str, Any]:
        return {"x": x + 1}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("of_six_rows", "signature 'serving_default' cannot be checked, because TensorFlow rejects random input: "),
        ("of_any_rank", "input 'x' has no fixed number of dimensions"),
        ("of_one_name", "signature 'serving_default' has an input and an output with the same name"),
    ],
)
def test_a_function_that_cannot_be_converted_or_compared_is_rejected_with_the_reason(
    function: str, reason: str, tmp_path: Path
) -> None:
    model = Awkward()
    tf.saved_model.save(model, str(tmp_path / "1"), signatures={"serving_default": getattr(model, function)})
    with pytest.raises(convert.ConversionError, match=f"^{reason}"):
        convert.convert(saved_model.load(tmp_path / "1", "model/1"), tmp_path)


class Random(tf.Module):
    """A model with a random function."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def chance(self, x: Any) -> dict[str, Any]:
        return {"y": x + tf.random.uniform(tf.shape(x))}


def test_a_graph_that_disagrees_with_tensorflow_is_not_served(tmp_path: Path) -> None:
    model, source = Random(), tmp_path / "model" / "1"
    tf.saved_model.save(model, str(source), signatures={"serving_default": model.chance})
    (tmp_path / "out").mkdir()
    model = discovery.UserModel(source, "model/1")
    differs = "output 'y' of signature 'serving_default' differs from TensorFlow's"
    with pytest.raises(discovery.NotConverted, match=differs):
        discovery.convert(model, tmp_path / "out", Path(sys.executable), python("serve"))


def test_the_server_exits_with_one_sentence_if_nothing_can_load_the_model(tmp_path: Path) -> None:
    broken = tmp_path / "model" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"not a model")
    with Server(tmp_path, TMPDIR=str(tmp_path)) as server:
        assert server.wait(600) == 1
        assert server.wait_for("serve: ")
        assert f"serve: {broken} cannot be loaded: " in server.log()[-2]
    assert not list(tmp_path.glob("serve-converted-*"))


def test_a_saved_model_without_a_signature_is_rejected_with_the_fix(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(ArtifactError, match="1 has no signature to call: save it with Keras's"):
        saved_model.load(tmp_path / "1", "model/1")
