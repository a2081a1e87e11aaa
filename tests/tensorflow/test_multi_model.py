"""Models of user scripts beside others on a multi-model endpoint: converted by the request that loads them."""

import contextlib
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.server import Response, Server


class Sums(tf.Module):
    """The weighted sum of two numbers, and a text in capitals, which ONNX Runtime does not compute."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def weigh(self, x: Any) -> dict[str, Any]:
        return {"y": x @ [[1.0], [10.0]]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def capitals(self, text: Any) -> dict[str, Any]:
        return {"capitals": tf.strings.upper(text)}


def load(server: Server, name: str, folder: Path) -> Response:
    body = json.dumps({"model_name": name, "url": str(folder)}).encode()
    return server.request("POST", "/models", body, timeout=300)


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
        answer = server.request("POST", "/models/sums/invoke", body, {"Content-Type": "application/json"})
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


def test_a_conversion_that_is_killed_for_its_memory_is_507(tmp_path: Path) -> None:
    sums = Sums()
    tf.saved_model.save(sums, str(tmp_path / "sums" / "1"), signatures={"serving_default": sums.weigh})
    with Server(tmp_path, SAGEMAKER_MULTI_MODEL="true") as server:
        server.wait_until_ready()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(load, server, "sums", tmp_path / "sums")
            os.kill(conversion(server), signal.SIGKILL)
            refused = answer.result(60)
        assert refused.status == 507
        assert refused.reason.startswith(
            f"The conversion of {tmp_path / 'sums' / '1'} was killed, probably for want of"
        )
        assert server.request("GET", "/ping").status == 200


def conversion(server: Server) -> int:
    """The process that converts, once it is the first that the kernel would end for want of memory."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                words = (folder / "cmdline").read_bytes().split(b"\0")
                ours = f"{server.port}".encode() in (folder / "environ").read_bytes()
                if ours and b"serve.user_model.convert" in words and (folder / "oom_score_adj").read_text() == "1000\n":
                    return int(folder.name)
    raise AssertionError("no conversion was begun")
