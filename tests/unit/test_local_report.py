"""Reports of predictions, checked by hand, the recipes, and the commands."""

import http.server
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from local import ROOT
from local import __main__ as program
from local.algorithms import report
from local.algorithms.image_classification import ALGORITHM as algorithm
from local.algorithms.image_classification import Prediction
from local.errors import CommandFailed
from local.sagemaker import invocations
from tests.unit.loopback import serving


def make_predictions(*pairs: tuple[int, int], classes: int = 3) -> list[Prediction]:
    """Return predictions from (true, predicted) labels."""
    probabilities = [tuple(0.8 if label == predicted else 0.1 for label in range(classes)) for _, predicted in pairs]
    return [Prediction(Path("photo.jpg"), true, scores) for (true, _), scores in zip(pairs, probabilities, strict=True)]


def test_the_last_line_is_the_accuracy_and_its_counts() -> None:
    assert algorithm.summary_line(make_predictions(*[(0, 0)] * 58, (0, 1), (1, 0))) == "accuracy 0.97 (58 of 60)"


def test_the_table_counts_true_and_predicted_labels() -> None:
    lines = algorithm.table(
        make_predictions((0, 0), (0, 0), (0, 2), (1, 1), (2, 0)), ["beagle", "pug", "Siamese"]
    ).splitlines()
    assert lines[0].split() == ["true,", "predicted", "as", "beagle", "pug", "Siamese"]
    assert [line.split() for line in lines[1:]] == [
        ["beagle", "2", ".", "1"],
        ["pug", ".", "1", "."],
        ["Siamese", "1", ".", "."],
    ]
    assert len({len(line) for line in lines}) == 1


def test_many_classes_get_a_line_each_with_their_confusions() -> None:
    names = [f"breed_number_{number}" for number in range(37)]
    lines = algorithm.table(make_predictions((0, 0), (0, 5), (0, 5), (0, 7), (5, 5), classes=37), names).splitlines()
    assert len(lines) == 37
    assert lines[0] == "breed_number_0      1 of    4 right, mistaken for breed_number_5 2, breed_number_7 1"
    assert lines[5].endswith("1 of    1 right")


def test_the_sheet_shows_at_most_thirty_photos_and_marks_right_and_wrong(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (10, 20, 200)).save(tmp_path / "photo.jpg")
    predictions = [
        Prediction(tmp_path / "photo.jpg", 0, (0.9, 0.1)),
        Prediction(tmp_path / "photo.jpg", 1, (0.9, 0.1)),
    ] * 20
    algorithm.sheet(predictions, ["beagle", "pug"], tmp_path / "predictions.png")
    with Image.open(tmp_path / "predictions.png") as page:
        assert page.size == (6 * 158 + 8, 5 * 196 + 8)
        assert page.getpixel((80, 80))[2] > 150
        bars = {page.convert("RGB").getpixel((80 + 158 * column, 8 + 151)) for column in range(6)}
    assert bars == {(46, 145, 72), (204, 60, 52)}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photo.jpg", "predictions.png"]


def test_predictions_are_in_the_order_of_the_photos(tmp_path: Path) -> None:
    photos = []
    for number in range(20):
        (tmp_path / str(number)).write_bytes(bytes([number]))
        photos.append((tmp_path / str(number), number % 3))
    ask = lambda data: json.dumps([data[0] / 20, 1 - data[0] / 20, 0]).encode()  # noqa: E731
    predictions = report.predict_all(photos, ask, algorithm.parse_response)
    assert [(prediction.photo, prediction.label) for prediction in predictions] == photos
    assert [prediction.probabilities[0] for prediction in predictions] == [number / 20 for number in range(20)]


@pytest.mark.parametrize("response", [b"<html>", b'{"prediction": 1}', b"[0.5]", b'["a", "b"]', b"\xff"])
def test_an_unexpected_response_gives_an_error_with_the_photo_and_the_response(response: bytes) -> None:
    with pytest.raises(CommandFailed) as caught:
        algorithm.parse_response(Path("pug_1.jpg"), 1, response)
    assert str(caught.value).startswith("pug_1.jpg: the endpoint returned ")
    assert str(caught.value).endswith("expected an array with a probability per class")


class Endpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = (
            self.path == "/invocations"
            and self.headers["Content-Type"] == "application/x-image"
            and self.headers["Accept"] == "application/json"
            and body == b"photo"
        )
        self.send_response(200 if good else 400)
        self.end_headers()
        self.wfile.write(json.dumps([0.25, 0.75] if good else {"error": "the image is empty"}).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with serving(Endpoint) as port:
        yield port


def test_the_endpoint_gets_the_bytes_of_the_photo_and_its_error_is_reported(port: int) -> None:
    ask = report.over_http(port, algorithm.accept)
    assert json.loads(ask(b"photo")) == [0.25, 0.75]
    with pytest.raises(invocations.EndpointError, match=r"^the endpoint returned 400 Bad Request: the image is empty$"):
        ask(b"")


def test_the_report_ends_with_the_next_commands_and_the_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "photo.jpg")
    predictions = [Prediction(tmp_path / "photo.jpg", 0, (0.9, 0.1))]
    next_commands = ("make serve BASE_DIR=base", "curl --data-binary @photo.jpg URL")
    report.print_report(
        algorithm, predictions, ["beagle", "pug"], tmp_path / "model", tmp_path / "predictions.png", next_commands
    )
    assert capsys.readouterr().out.splitlines()[-6:] == [
        "Try it yourself:",
        "    make serve BASE_DIR=base",
        "and, in another terminal:",
        "    curl --data-binary @photo.jpg URL",
        "",
        "accuracy 1.00 (1 of 1)",
    ]


def test_a_demo_without_its_data_keeps_the_results_of_an_earlier_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "opt" / "ml" / "model" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.touch()
    options = ["--data", str(tmp_path / "pets"), "--out", str(tmp_path)]
    assert program.main(["demo", "image-classification", *options]) == 2
    assert f"demo: {tmp_path / 'pets'} is not a folder: give the folder of the data set" in capsys.readouterr().err
    assert model.exists()


@pytest.mark.parametrize("command", ["demo", "local-mode"])
@pytest.mark.parametrize("epochs", ["abc", "0", "-3", "2.5", ""])
def test_epochs_that_are_not_a_whole_number_are_rejected(
    command: str, epochs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main([command, "image-classification", f"--epochs={epochs}"])
    assert ended.value.code == 2
    assert f"{epochs!r} is not a number of epochs: use a whole number of 1 or more" in capsys.readouterr().err


@given(st.booleans(), st.integers(1, 300) | st.none(), st.integers(1, 10_000))
def test_steps_of_the_learning_rate_increase_and_are_within_the_epochs(
    drawn: bool, epochs: int | None, count: int
) -> None:
    recipe = algorithm.recipe(drawn, epochs, {"num_classes": 6, "num_training_samples": count})
    steps = [int(step) for step in str(recipe.get("lr_scheduler_step", "")).split(",") if step]
    assert steps == sorted(set(steps))
    assert all(0 < step < int(recipe["epochs"]) for step in steps)
    assert recipe["mini_batch_size"] <= count


def test_real_photos_get_the_recipe_that_was_measured_on_them() -> None:
    assert algorithm.recipe(False, None, {"num_classes": 3, "num_training_samples": 300}) == {
        "num_layers": 18,
        "image_shape": "3,128,128",
        "resize": 144,
        "mini_batch_size": 32,
        "optimizer": "nag",
        "learning_rate": 0.05,
        "weight_decay": 0.0005,
        "lr_scheduler_step": "24,34",
        "epochs": 40,
        "augmentation_type": "crop_color_transform",
        "num_classes": 3,
        "num_training_samples": 300,
    }


def test_the_help_needs_only_the_standard_library() -> None:
    code = "import sys, local.__main__ as m; sys.modules['PIL'] = sys.modules['numpy'] = None; m.main(['--help'])"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in program.COMMANDS)


@pytest.mark.parametrize("command", sorted(program.COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python3 -m local {command}")


def test_a_command_restarts_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / ".venvs" / "dev" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" "$PYTHONPATH"\n')
    python.chmod(0o755)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "local").mkdir()
    for name in ("__init__", "__main__", "errors"):
        (tmp_path / "local" / f"{name}.py").write_bytes((ROOT / "local" / f"{name}.py").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "local", "prepare", "a b", "--out", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"-m local prepare a b --out x {tmp_path}\n"


def test_without_its_environment_a_command_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    for name in ("__init__", "__main__", "errors"):
        (tmp_path / "local" / f"{name}.py").write_bytes((ROOT / "local" / f"{name}.py").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "local", "prepare"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "run `make envs` once" in done.stderr
