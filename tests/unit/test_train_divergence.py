"""What is kept of a job whose numbers are no longer finite."""

from pathlib import Path

import pytest

from serve.artifact import MODEL_JSON, MODEL_ONNX
from train import divergence
from train.errors import TrainError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with the graph, its description and native weights."""
    for name in (MODEL_ONNX, MODEL_JSON, "model-0001.params"):
        (tmp_path / name).write_text("as written")
    return tmp_path


def left(folder: Path) -> set[str]:
    """The names of the files."""
    return {path.name for path in folder.iterdir()}


def test_the_best_epoch_is_finished_and_kept(folder: Path) -> None:
    finished: list[str] = []
    assert divergence.rescue(lambda: finished.append("once"), folder, 3) == "epoch 3, the best before, is kept"
    assert finished == ["once"]
    assert left(folder) == {MODEL_ONNX, MODEL_JSON, "model-0001.params"}


def test_of_a_best_epoch_that_cannot_be_served_only_the_native_weights_stay(folder: Path) -> None:
    def fail() -> None:
        raise TrainError("the answers differ")

    said = divergence.rescue(fail, folder, 0)
    assert said == "epoch 0, the best before, is too broken to be served: only its native weights are kept"
    assert left(folder) == {"model-0001.params"}


def test_before_the_first_epoch_has_ended_nothing_is_finished(folder: Path) -> None:
    def never() -> None:
        raise AssertionError

    assert divergence.rescue(never, folder, -1) == "no epoch had ended before, so there is no model"
