"""The model folder: the epochs with kept weights, and the files of a job that diverged."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from serve.artifact import MODEL_JSON, MODEL_ONNX
from train.errors import TrainError
from train.learner import Best, Lines
from train.model_folder import Model, ModelFolder


class Texts(Model[None]):
    """A model with text as weights, and without an export and a check."""

    weights = "model-{:04d}.params"

    def __init__(self, checkpoint_frequency: int | None = None) -> None:
        self.checkpoint_frequency = checkpoint_frequency
        self.now = "weights"

    def write_weights(self, path: Path) -> None:
        path.write_text(self.now)

    def read_weights(self, path: Path) -> None:
        self.now = path.read_text()

    def export(self, path: Path) -> None:
        raise NotImplementedError

    def check(self, best: Best[None]) -> None:
        raise NotImplementedError


class OneFile(Texts):
    weights = "model.params"
    last = "model.last"

    def companions(self) -> Mapping[str, Callable[[Path], object]]:
        return {"symbol.json": lambda path: path.write_text("{}")}


def files(folder: Path) -> set[str]:
    """Return the names of the files."""
    return {path.name for path in folder.iterdir()}


def test_a_new_best_epoch_replaces_the_previous_one(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, Texts(), Lines())
    folder.save(0, True, None)
    folder.save(1, False, 0)
    folder.save(2, True, 0)
    assert files(tmp_path) == {"model-0003.params"}


def test_every_nth_epoch_is_kept_in_addition_to_the_best(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, Texts(checkpoint_frequency=2), Lines())
    folder.save(0, True, None)
    folder.save(1, True, 0)
    folder.save(2, True, 1)
    folder.save(3, False, 2)
    assert files(tmp_path) == {"model-0002.params", "model-0003.params", "model-0004.params"}


def test_a_single_weight_file_is_overwritten_and_its_companions_are_written_once(tmp_path: Path) -> None:
    model = OneFile()
    folder = ModelFolder(tmp_path, model, Lines())
    folder.save(0, True, None)
    (tmp_path / "symbol.json").write_text("unchanged")
    model.now = "better"
    folder.save(1, True, 0)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "model.params": "better",
        "symbol.json": "unchanged",
    }


def test_the_last_epochs_weights_have_a_separate_file(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, OneFile(), Lines())
    folder.save_last()
    assert files(tmp_path) == {"model.last"}


def test_a_host_that_does_not_write_creates_no_files(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, OneFile(), Lines(), writes=False)
    folder.save(0, True, None)
    folder.save_last()
    folder.finish(Best(0.5, {}, None, 0))
    assert files(tmp_path) == set()


# ---- after a divergence -----------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A model folder with the graph, its description and native weights."""
    for name in (MODEL_ONNX, MODEL_JSON, "model-0001.params"):
        (tmp_path / name).write_text("as written")
    return tmp_path


class Finishing(ModelFolder[None]):
    """A model folder that records calls of `finish`, or raises an error in them."""

    def __init__(self, folder: Path, error: TrainError | None = None) -> None:
        super().__init__(folder, Texts(), Lines())
        self.error, self.finished = error, []

    def finish(self, best: Best[None]) -> None:
        self.finished.append(best.epoch)
        if self.error:
            raise self.error


def test_the_best_epoch_before_a_divergence_is_exported_and_kept(served: Path) -> None:
    folder = Finishing(served)
    assert folder.rescue(Best(0.5, {}, None, 3)) == "epoch 3, the best so far, is kept"
    assert folder.finished == [3]
    assert files(served) == {MODEL_ONNX, MODEL_JSON, "model-0001.params"}


def test_only_the_native_weights_are_kept_if_the_best_epoch_cannot_be_served(served: Path) -> None:
    message = Finishing(served, TrainError("the answers differ")).rescue(Best(0.5, {}, None, 0))
    assert message == "epoch 0, the best so far, failed the final checks: only its native weights are kept"
    assert files(served) == {"model-0001.params"}


def test_nothing_is_exported_before_the_first_epoch_has_ended(served: Path) -> None:
    folder = Finishing(served)
    assert folder.rescue(None) == "no epoch was finished, so there is no model"
    assert folder.finished == []
