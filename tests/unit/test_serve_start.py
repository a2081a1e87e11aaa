"""The first lines of `serve`: what it refuses in one sentence before anything is imported, bound or converted."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serve.user_model import signature
from serve.user_model.signature import Signature, Tensor, TensorModel
from tests.environments import REPOSITORY


def serve(base: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What `serve` says of the model in `base`."""
    environ = os.environ | {"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(REPOSITORY)} | variables
    command = [sys.executable, "-m", "serve"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


def converted(model: Path) -> None:
    """A model.json and a model.onnx as `train` leaves them of a script's model."""
    (model / "model.onnx").touch()
    one = Signature((Tensor("x", "float32", (None,)),), (Tensor("y", "float32", None),), "model.onnx")
    signature.write(TensorModel("test", {"serving_default": one}), model)


def saved(model: Path) -> None:
    """What a script leaves."""
    (model / "1").mkdir()
    (model / "1" / "saved_model.pb").touch()


@pytest.mark.parametrize("leave", [saved, converted])
def test_handlers_beside_a_model_of_tensorflow_are_refused_and_not_ignored(
    leave: Callable[[Path], None], tmp_path: Path
) -> None:
    handlers = tmp_path / "model" / "code" / "inference.py"
    handlers.parent.mkdir(parents=True)
    handlers.write_text("def input_handler(data, context): ...\n")
    leave(tmp_path / "model")
    done = serve(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"serve: {handlers} would not be run: this image has no support for handlers yet.")
    assert len(done.stderr.splitlines()) == 1


def test_a_port_in_use_is_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    converted(tmp_path / "model")
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        done = serve(tmp_path, SAGEMAKER_BIND_TO_PORT=str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"serve: port {port} is in use: stop the program that listens there, or set SAGEMAKER_BIND_TO_PORT (with "
        "`make serve` PORT) to another one.\n"
    )


def test_tensorflow_does_not_serve_many_models_and_says_so(tmp_path: Path) -> None:
    done = serve(tmp_path, SAGEMAKER_MULTI_MODEL="true", VISION_ENGINE="tensorflow")
    says = "serve: VISION_ENGINE is 'tensorflow', with SAGEMAKER_MULTI_MODEL it must be 'onnx' or not set.\n"
    assert (done.returncode, done.stderr) == (1, says)


def test_a_port_that_is_no_number_is_told_by_the_name_of_its_variable(tmp_path: Path) -> None:
    done = serve(tmp_path, SAGEMAKER_BIND_TO_PORT="abc")
    says = (
        "serve: SAGEMAKER_BIND_TO_PORT is 'abc', it must be a whole number from 1 to 65535 (with `make serve`: PORT).\n"
    )
    assert (done.returncode, done.stderr) == (1, says)
