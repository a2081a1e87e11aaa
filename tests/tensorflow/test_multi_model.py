"""Models of user scripts beside others on a multi-model endpoint: converted by the request that loads them."""

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.server import Answer, Server


class Sums(tf.Module):
    """The weighted sum of two numbers, and a text in capitals, which ONNX Runtime does not compute."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def weigh(self, x: Any) -> dict[str, Any]:
        return {"y": x @ [[1.0], [10.0]]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def capitals(self, text: Any) -> dict[str, Any]:
        return {"capitals": tf.strings.upper(text)}


def load(server: Server, name: str, folder: Path) -> Answer:
    body = json.dumps({"model_name": name, "url": str(folder)}).encode()
    return server.ask("POST", "/models", body, timeout=300)


def test_a_saved_model_is_converted_when_it_is_loaded_and_one_that_cannot_be_is_400(tmp_path: Path) -> None:
    sums, temporary = Sums(), tmp_path / "tmp"
    tf.saved_model.save(sums, str(tmp_path / "sums" / "1"), signatures={"serving_default": sums.weigh})
    tf.saved_model.save(sums, str(tmp_path / "texts" / "1"), signatures={"serving_default": sums.capitals})
    temporary.mkdir()
    with Server(tmp_path, SAGEMAKER_MULTI_MODEL="true", TMPDIR=str(temporary)) as server:
        server.wait_until_ready()
        assert load(server, "sums", tmp_path / "sums").status == 200
        assert server.wait_for("sums/1 is converted: 2 checks, largest difference from TensorFlow ")
        body = json.dumps({"instances": [[1, 2], [3, 4]]}).encode()
        answer = server.ask("POST", "/models/sums/invoke", body, {"Content-Type": "application/json"})
        assert answer.json() == {"predictions": [[21.0], [43.0]]}
        refused = load(server, "texts", tmp_path / "texts")
        assert refused.status == 400
        assert "texts/1 cannot be converted for ONNX Runtime: signature 'serving_default' has text in" in refused.reason
        assert refused.reason.endswith("TensorFlow serves such a model on an endpoint of its own.")
        assert [path.name for path in temporary.iterdir() if path.name.startswith("serve-converted-")] == []


def test_handlers_beside_a_saved_model_are_refused_and_not_ignored(tmp_path: Path) -> None:
    sums = Sums()
    tf.saved_model.save(sums, str(tmp_path / "sums" / "1"), signatures={"serving_default": sums.weigh})
    handlers = tmp_path / "sums" / "code" / "inference.py"
    handlers.parent.mkdir()
    handlers.write_text("def input_handler(data, context): ...\n")
    with Server(tmp_path, SAGEMAKER_MULTI_MODEL="true") as server:
        refused = load(server.wait_until_ready(), "sums", tmp_path / "sums")
        assert refused.status == 400
        assert f"{handlers} would not be run: this image has no support for handlers yet." in refused.reason
