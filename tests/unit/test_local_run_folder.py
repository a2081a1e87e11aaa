"""The output folders of `demo`, `local-mode` and `train`: the results of earlier runs are never overwritten."""

from pathlib import Path

import pytest

from local import __main__ as program
from local.commands.options import run_folder
from local.errors import UserError

RESULTS = pytest.mark.parametrize("result", ["model.tar.gz", "predictions.png", "opt/ml/model/model.onnx"])


def touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@RESULTS
def test_a_folder_with_results_is_kept_and_the_next_number_is_used(tmp_path: Path, result: str) -> None:
    default = tmp_path / "object-detection"
    assert run_folder(None, default) == default
    for number in (2, 3):
        touch(tmp_path / (default.name if number == 2 else f"{default.name}-{number - 1}") / result)
        assert run_folder(None, default) == tmp_path / f"object-detection-{number}"


def test_files_of_an_interrupted_run_are_not_results(tmp_path: Path) -> None:
    touch(tmp_path / "demo" / "channels" / "train" / "1.jpg")
    (tmp_path / "demo" / "opt" / "ml" / "model").mkdir(parents=True)
    assert run_folder(None, tmp_path / "demo") == tmp_path / "demo"


@pytest.mark.parametrize("file", ["model.tar.gz", "channels/mine.jpg", "data/images/mine.jpg"])
def test_a_requested_folder_that_is_not_empty_is_rejected(tmp_path: Path, file: str) -> None:
    (tmp_path / "mine").mkdir()
    assert run_folder(tmp_path / "mine", tmp_path / "default") == tmp_path / "mine"
    touch(tmp_path / "mine" / file)
    with pytest.raises(UserError, match=r"--out .*mine already exists and is not empty: name another folder"):
        run_folder(tmp_path / "mine", tmp_path / "default")


@pytest.mark.parametrize("command", ["demo", "local-mode"])
def test_a_run_that_would_overwrite_another_ends_before_it_starts(
    command: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path / "out" / "predictions.png")
    arguments = [command, "image-classification", "--data", str(drawn), "--out", str(tmp_path / "out")]
    assert program.main(arguments) == 2
    assert f"{command}: --out {tmp_path / 'out'} already exists and is not empty" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["predictions.png"]
