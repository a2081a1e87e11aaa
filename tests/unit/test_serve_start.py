"""Starting `serve`: what it rejects in one sentence before it imports, binds or converts anything."""

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


def run_serve(base: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` with the model in `base`."""
    environ = os.environ | {"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(REPOSITORY)} | variables
    command = [sys.executable, "-m", "serve"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


def write_converted_model(model: Path) -> None:
    """Write model.json and model.onnx as `train` does for a script's model."""
    (model / "model.onnx").touch()
    tensors = Signature((Tensor("x", "float32", (None,)),), (Tensor("y", "float32", None),), "model.onnx")
    signature.write(TensorModel("test", {"serving_default": tensors}), model)


def write_saved_model(model: Path) -> None:
    """Write the SavedModel of a script."""
    (model / "1").mkdir()
    (model / "1" / "saved_model.pb").touch()


@pytest.mark.parametrize("write_model", [write_saved_model, write_converted_model])
def test_handlers_next_to_a_tensorflow_model_are_rejected_and_not_ignored(
    write_model: Callable[[Path], None], tmp_path: Path
) -> None:
    handlers = tmp_path / "model" / "code" / "inference.py"
    handlers.parent.mkdir(parents=True)
    handlers.write_text("def input_handler(data, context): ...\n")
    write_model(tmp_path / "model")
    result = run_serve(tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"serve: {handlers} cannot be used, because this image does not support handlers.")
    assert len(result.stderr.splitlines()) == 1


def test_a_port_in_use_is_reported_in_one_sentence_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_converted_model(tmp_path / "model")
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        result = run_serve(tmp_path, SAGEMAKER_BIND_TO_PORT=str(port))
    assert result.returncode == 1
    assert result.stderr == (
        f"serve: port {port} is in use: stop the program that uses it, or set SAGEMAKER_BIND_TO_PORT (with "
        "`make serve`: PORT) to another port.\n"
    )


def test_the_tensorflow_engine_cannot_serve_several_models(tmp_path: Path) -> None:
    result = run_serve(tmp_path, SAGEMAKER_MULTI_MODEL="true", VISION_ENGINE="tensorflow")
    message = "serve: VISION_ENGINE is 'tensorflow', with SAGEMAKER_MULTI_MODEL it must be 'onnx' or not set.\n"
    assert (result.returncode, result.stderr) == (1, message)


def test_a_port_that_is_not_a_number_is_rejected_with_its_variables_name(tmp_path: Path) -> None:
    result = run_serve(tmp_path, SAGEMAKER_BIND_TO_PORT="abc")
    message = (
        "serve: SAGEMAKER_BIND_TO_PORT is 'abc'; it must be a whole number from 1 to 65535 (with `make serve`: PORT).\n"
    )
    assert (result.returncode, result.stderr) == (1, message)
