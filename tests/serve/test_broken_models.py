"""A model that cannot be served ends the process, or the request, with one sentence that says why."""

from dataclasses import replace
from pathlib import Path

import pytest

from serve import artifact
from tests.photos import solid
from tests.server import Server


def ends(base: Path, says: str) -> None:
    """A server of `base` ends with gunicorn's code for a worker that cannot begin, and says so once."""
    with Server(base) as server:
        assert server.wait(30) == 3
        line = server.wait_for(says)
    assert line.count("The model cannot be served") == 1
    assert not [entry for entry in server.log() if "Traceback" in entry]


def test_a_file_that_is_not_a_model_is_refused(models: Path, tmp_path: Path) -> None:
    artifact.write(artifact.read(models / "classifier" / "model"), tmp_path / "model")
    (tmp_path / "model" / "model.onnx").write_bytes(b"no model")
    ends(tmp_path, r"model.onnx cannot be loaded: .*Train again to write it")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("classifier", r"model.onnx answers float32 \(1, 3\) for one image, model.json has 4 class_names"),
        ("detector", r"model.onnx answers float32 \(1, 32, 3\) and float32 \(1, 32, 4\) .* has 4 class_names"),
        ("segmenter", r"model.onnx answers float32 \(1, 4, 8, 8\) for one image, model.json has 5 class_names"),
    ],
)
def test_a_description_with_one_class_too_many_is_refused(models: Path, tmp_path: Path, name: str, says: str) -> None:
    described = artifact.read(models / name / "model")
    artifact.write(replace(described, class_names=(*described.class_names, "purple")), tmp_path / "model")
    (tmp_path / "model" / "model.onnx").symlink_to(models / name / "model" / "model.onnx")
    ends(tmp_path, says)


def test_a_segmenter_whose_cells_overlap_is_refused(models: Path) -> None:
    ends(models / "segmenter-overlap", r"model.onnx answers float32 \(1, 4, 15, 15\) .* an input of 64 x 64 pixels")


@pytest.mark.parametrize("name", ["classifier", "detector", "segmenter"])
def test_weights_that_are_not_finite_are_refused(models: Path, name: str) -> None:
    ends(models / f"{name}-nan", "model.onnx answers with numbers that are not finite: its weights are broken. Train a")


def test_an_answer_that_is_not_finite_is_500_with_a_sentence(models: Path) -> None:
    with Server(models / "classifier-overflow") as server:
        answer = server.wait_until_ready().ask("POST", "/invocations", solid(255, 0, 0))
    assert answer.status == 500
    assert answer.reason == "The model answered with numbers that are not finite: its weights are broken."
