"""Models of user scripts on a multi-model endpoint. The request that loads a model converts it."""

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
    """Computes the weighted sum of two numbers, and upper-case text, which ONNX Runtime does not support."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def weigh(self, x: Any) -> dict[str, Any]:
        return {"y": x @ [[1.0], [10.0]]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def capitals(self, text: Any) -> dict[str, Any]:
        return {"capitals": tf.strings.upper(text)}


def load(server: Server, name: str, folder: Path) -> Response:
    body = json.dumps({"model_name": name, "url": str(folder)}).encode()
    return server.request("POST", "/models", body, timeout=300)


def test_a_saved_model_is_converted_on_loading_or_gets_400_if_that_fails(tmp_path: Path) -> None:
    sums, temporary = Sums(), tmp_path / "tmp"
    tf.saved_model.save(sums, str(tmp_path / "sums" / "1"), signatures={"serving_default": sums.weigh})
    tf.saved_model.save(sums, str(tmp_path / "texts" / "1"), signatures={"serving_default": sums.capitals})
    temporary.mkdir()
    with Server(tmp_path, SAGEMAKER_MULTI_MODEL="true", TMPDIR=str(temporary)) as server:
        server.wait_until_ready()
        assert load(server, "sums", tmp_path / "sums").status == 200
        assert server.wait_for("sums/1 was converted: 2 checks, largest difference from TensorFlow ")
        body = json.dumps({"instances": [[1, 2], [3, 4]]}).encode()
        response = server.request("POST", "/models/sums/invoke", body, {"Content-Type": "application/json"})
        assert response.json() == {"predictions": [[21.0], [43.0]]}
        refused = load(server, "texts", tmp_path / "texts")
        assert refused.status == 400
        assert "texts/1 cannot be converted for ONNX Runtime: signature 'serving_default' has text in" in refused.reason
        assert refused.reason.endswith("Use a single-model endpoint, which can serve it with TensorFlow.")
        assert [path.name for path in temporary.iterdir() if path.name.startswith("serve-converted-")] == []


def test_handlers_next_to_a_saved_model_are_rejected(tmp_path: Path) -> None:
    sums = Sums()
    tf.saved_model.save(sums, str(tmp_path / "sums" / "1"), signatures={"serving_default": sums.weigh})
    handlers = tmp_path / "sums" / "code" / "inference.py"
    handlers.parent.mkdir()
    handlers.write_text("def input_handler(data, context): ...\n")
    with Server(tmp_path, SAGEMAKER_MULTI_MODEL="true") as server:
        refused = load(server.wait_until_ready(), "sums", tmp_path / "sums")
        assert refused.status == 400
        assert f"{handlers} cannot be used, because this image does not support handlers." in refused.reason


def test_a_conversion_that_is_killed_for_lack_of_memory_gets_507(tmp_path: Path) -> None:
    sums = Sums()
    tf.saved_model.save(sums, str(tmp_path / "sums" / "1"), signatures={"serving_default": sums.weigh})
    with Server(tmp_path, SAGEMAKER_MULTI_MODEL="true") as server:
        server.wait_until_ready()
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load, server, "sums", tmp_path / "sums")
            os.kill(conversion(server), signal.SIGKILL)
            refused = loading.result(60)
        assert refused.status == 507
        assert refused.reason.startswith(f"The conversion of {tmp_path / 'sums' / '1'} was killed, probably because")
        assert server.request("GET", "/ping").status == 200


def conversion(server: Server) -> int:
    """Wait until the converting process is the kernel's first choice to kill for memory, and return its id."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # the process may have ended
                command = (folder / "cmdline").read_bytes().split(b"\0")
                is_ours = f"{server.port}".encode() in (folder / "environ").read_bytes()
                converts = b"serve.user_model.convert" in command
                if is_ours and converts and (folder / "oom_score_adj").read_text() == "1000\n":
                    return int(folder.name)
    raise AssertionError("no conversion started")
