"""The choice between model.int8.onnx and model.onnx. One of the two is broken in these tests."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from serve import artifact, machine
from serve.artifact import FLOAT32, INT8, MODEL_INT8, MODEL_ONNX, ArtifactError, Quantization
from serve.engine.runtime import OnnxEngine
from tests.photos import solid
from tests.server import Server


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A model with a float graph that returns NaN and a valid int8 graph."""
    shutil.copytree(models / "classifier" / "model", tmp_path / "model")
    shutil.copy(tmp_path / "model" / MODEL_ONNX, tmp_path / "model" / MODEL_INT8)
    shutil.copy(models / "classifier-nan" / "model" / MODEL_ONNX, tmp_path / "model" / MODEL_ONNX)
    return tmp_path / "model"


def decide(folder: Path, serves: str, reduce_range: bool = True) -> None:
    """Write a training job's decision into model.json."""
    described = replace(artifact.read(folder), quantization=Quantization(serves, reduce_range, {}))
    artifact.write(described, folder)


def is_int8(folder: Path, precision: str = "auto") -> bool:
    """Return whether the served graph is the valid one."""
    try:
        OnnxEngine(folder, 1, precision=precision)
    except ArtifactError as error:
        return "is not finite" not in str(error)
    return True


def test_int8_is_served_if_the_job_decided_so(folder: Path) -> None:
    decide(folder, INT8)
    assert is_int8(folder)
    decide(folder, FLOAT32)
    assert not is_int8(folder)


def test_a_graph_that_model_json_does_not_name_is_not_served(folder: Path) -> None:
    assert not is_int8(folder)


def test_float32_can_be_selected(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    decide(folder, INT8)
    caplog.set_level(logging.INFO, "serve")
    assert not is_int8(folder, FLOAT32)
    assert caplog.messages == ["serving model.onnx instead of model.int8.onnx, because VISION_PRECISION=float32"]


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("vnni", [True, False])
def test_eight_bit_weights_are_served_only_on_processors_with_vnni(
    folder: Path, reduced: bool, vnni: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decide(folder, INT8, reduced)
    monkeypatch.setattr(machine, "has_vnni", lambda: vnni)
    caplog.set_level(logging.INFO, "serve")
    assert is_int8(folder) is (reduced or vnni)
    selected = "serving model.int8.onnx; set VISION_PRECISION=float32 to serve model.onnx"
    lacking = "serving model.onnx: model.int8.onnx would give wrong predictions on this processor, which has no VNNI"
    assert caplog.messages == [selected if reduced or vnni else lacking]


def test_an_int8_graph_that_is_missing_is_named(folder: Path) -> None:
    decide(folder, INT8)
    (folder / MODEL_INT8).unlink()
    with pytest.raises(ArtifactError, match=r"model\.int8\.onnx, which model\.json needs, is missing"):
        OnnxEngine(folder, 1)


def test_the_variable_reaches_the_endpoint_and_the_log_names_the_served_graph(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "classifier", tmp_path / "ml")
    folder = tmp_path / "ml" / "model"
    shutil.copy(models / "classifier-nan" / "model" / MODEL_ONNX, folder / MODEL_INT8)
    decide(folder, INT8)
    with Server(tmp_path / "ml", VISION_PRECISION="float32") as server:
        server.wait_until_ready()
        assert server.request("POST", "/invocations", solid(255, 0, 0), {"Content-Type": "image/png"}).status == 200
        assert any("serving model.onnx instead of model.int8.onnx" in line for line in server.log())
