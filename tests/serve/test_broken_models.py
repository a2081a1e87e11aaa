"""Broken models: the server exits with one sentence that gives the reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from serve import artifact
from serve.artifact import ArtifactError
from serve.engine.runtime import OnnxEngine
from tests.server import Server


def test_the_server_exits_with_one_sentence_if_the_model_cannot_be_served(models: Path) -> None:
    with Server(models / "classifier-nan") as server:
        assert server.wait(30) == 3
        line = server.wait_for("The model cannot be served: The output of model.onnx is not finite")
    assert line.count("The model cannot be served") == 1
    assert not [entry for entry in server.log() if "Traceback" in entry]


def test_a_file_that_is_not_a_model_is_rejected(models: Path, tmp_path: Path) -> None:
    artifact.write(artifact.read(models / "classifier" / "model"), tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"model.onnx cannot be loaded: [^\n]*Train again to write it"):
        OnnxEngine(tmp_path, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("classifier", r"model.onnx returns float32 \(1, 3\) for one image, but model.json has 4 class_names"),
        ("detector", r"model.onnx returns float32 \(1, 32, 3\) and float32 \(1, 32, 4\) .* has 4 class_names"),
        ("segmenter", r"model.onnx returns float32 \(1, 4, 8, 8\) for one image, but model.json has 5 class_names"),
    ],
)
def test_a_description_with_one_class_too_many_is_rejected(
    models: Path, tmp_path: Path, name: str, message: str
) -> None:
    described = artifact.read(models / name / "model")
    artifact.write(replace(described, class_names=(*described.class_names, "purple")), tmp_path)
    (tmp_path / "model.onnx").symlink_to(models / name / "model" / "model.onnx")
    with pytest.raises(ArtifactError, match=message):
        OnnxEngine(tmp_path, 1)


def test_a_segmenter_with_overlapping_cells_is_rejected(models: Path) -> None:
    message = r"model.onnx returns float32 \(1, 4, 15, 15\) .* an input of 64 x 64 pixels"
    with pytest.raises(ArtifactError, match=message):
        OnnxEngine(models / "segmenter-overlap" / "model", 1)


@pytest.mark.parametrize("name", ["classifier", "detector", "segmenter"])
def test_weights_that_are_not_finite_are_rejected(models: Path, name: str) -> None:
    message = r"^The output of model.onnx is not finite: its weights are broken. Train again.$"
    with pytest.raises(ArtifactError, match=message):
        OnnxEngine(models / f"{name}-nan" / "model", 1)
