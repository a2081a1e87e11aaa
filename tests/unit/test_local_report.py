"""Tables, sheets and accuracy lines from answers that can be counted by hand; recipes; the commands themselves."""

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
from local.algorithms.image_classification import Answer
from local.errors import CommandFailed
from local.sagemaker import invocations
from tests.unit.loopback import serving


def answers(*pairs: tuple[int, int], classes: int = 3) -> list[Answer]:
    """Answers for (true, predicted) labels."""
    chances = [tuple(0.8 if label == said else 0.1 for label in range(classes)) for _, said in pairs]
    return [Answer(Path("photo.jpg"), true, chance) for (true, _), chance in zip(pairs, chances, strict=True)]


def test_the_last_line_is_the_accuracy_as_told_and_counted() -> None:
    assert algorithm.last_line(answers(*[(0, 0)] * 58, (0, 1), (1, 0))) == "accuracy 0.97 (58 of 60)"


def test_the_table_counts_true_against_predicted() -> None:
    lines = algorithm.table(answers((0, 0), (0, 0), (0, 2), (1, 1), (2, 0)), ["beagle", "pug", "Siamese"]).splitlines()
    assert lines[0].split() == ["true,", "predicted", "as", "beagle", "pug", "Siamese"]
    assert [line.split() for line in lines[1:]] == [
        ["beagle", "2", ".", "1"],
        ["pug", ".", "1", "."],
        ["Siamese", "1", ".", "."],
    ]
    assert len({len(line) for line in lines}) == 1


def test_many_classes_get_a_line_each_with_what_they_are_taken_for() -> None:
    names = [f"breed_number_{number}" for number in range(37)]
    lines = algorithm.table(answers((0, 0), (0, 5), (0, 5), (0, 7), (5, 5), classes=37), names).splitlines()
    assert len(lines) == 37
    assert lines[0] == "breed_number_0      1 of    4 right, taken for breed_number_5 2, breed_number_7 1"
    assert lines[5].endswith("1 of    1 right")


def test_the_sheet_shows_at_most_thirty_photos_with_their_verdict(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (10, 20, 200)).save(tmp_path / "photo.jpg")
    said = [Answer(tmp_path / "photo.jpg", 0, (0.9, 0.1)), Answer(tmp_path / "photo.jpg", 1, (0.9, 0.1))] * 20
    algorithm.sheet(said, ["beagle", "pug"], tmp_path / "predictions.png")
    with Image.open(tmp_path / "predictions.png") as page:
        assert page.size == (6 * 158 + 8, 5 * 196 + 8)
        assert page.getpixel((80, 80))[2] > 150
        bars = {page.convert("RGB").getpixel((80 + 158 * column, 8 + 151)) for column in range(6)}
    assert bars == {(46, 145, 72), (204, 60, 52)}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photo.jpg", "predictions.png"]


def test_photos_are_asked_about_in_order_with_their_own_bytes(tmp_path: Path) -> None:
    photos = []
    for number in range(20):
        (tmp_path / str(number)).write_bytes(bytes([number]))
        photos.append((tmp_path / str(number), number % 3))
    ask = lambda data: json.dumps([data[0] / 20, 1 - data[0] / 20, 0]).encode()  # noqa: E731
    said = report.ask_all(photos, ask, algorithm.answer)
    assert [(answer.photo, answer.label) for answer in said] == photos
    assert [answer.probabilities[0] for answer in said] == [number / 20 for number in range(20)]


@pytest.mark.parametrize("reply", [b"<html>", b'{"prediction": 1}', b"[0.5]", b'["a", "b"]', b"\xff"])
def test_a_reply_that_is_no_list_of_probabilities_ends_in_one_line_with_the_photo_and_the_reply(reply: bytes) -> None:
    with pytest.raises(CommandFailed) as caught:
        algorithm.answer(Path("pug_1.jpg"), 1, reply)
    assert str(caught.value).startswith("pug_1.jpg: the endpoint replied ")
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
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    with serving(Endpoint) as port:
        yield port


def test_the_endpoint_is_asked_with_the_photos_bytes_and_its_refusal_is_told(port: int) -> None:
    ask = report.over_http(port, algorithm.accept)
    assert json.loads(ask(b"photo")) == [0.25, 0.75]
    with pytest.raises(invocations.RefusedError, match=r"^the endpoint answered 400 Bad Request: the image is empty$"):
        ask(b"")


def test_a_journey_ends_with_what_to_do_next_and_the_figure_in_the_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "photo.jpg")
    said = [Answer(tmp_path / "photo.jpg", 0, (0.9, 0.1))]
    again = ("make serve BASE_DIR=base", "curl --data-binary @photo.jpg URL")
    report.tell(algorithm, said, ["beagle", "pug"], tmp_path / "model", tmp_path / "predictions.png", again)
    assert capsys.readouterr().out.splitlines()[-6:] == [
        "Ask it yourself:",
        "    make serve BASE_DIR=base",
        "and, in another terminal:",
        "    curl --data-binary @photo.jpg URL",
        "",
        "accuracy 1.00 (1 of 1)",
    ]


def test_a_demo_whose_data_is_missing_leaves_what_an_earlier_one_has_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "opt" / "ml" / "model" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.touch()
    options = ["--data", str(tmp_path / "pets"), "--out", str(tmp_path)]
    assert program.main(["demo", "image-classification", *options]) == 2
    assert f"demo: {tmp_path / 'pets'} is not a folder: give the one that holds the data set" in capsys.readouterr().err
    assert model.exists()


@pytest.mark.parametrize("command", ["demo", "local-mode"])
@pytest.mark.parametrize("epochs", ["abc", "0", "-3", "2.5", ""])
def test_epochs_that_are_no_whole_number_are_refused_in_a_sentence(
    command: str, epochs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main([command, "image-classification", f"--epochs={epochs}"])
    assert ended.value.code == 2
    assert f"{epochs!r} is not a number of epochs: give a whole number of 1 or more" in capsys.readouterr().err


@given(st.booleans(), st.integers(1, 300) | st.none(), st.integers(1, 10_000))
def test_steps_of_the_learning_rate_rise_and_lie_within_the_epochs(drawn: bool, epochs: int | None, count: int) -> None:
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


def test_the_overview_needs_nothing_but_python() -> None:
    code = "import sys, local.__main__ as m; sys.modules['PIL'] = sys.modules['numpy'] = None; m.main(['--help'])"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in program.COMMANDS)


@pytest.mark.parametrize("command", sorted(program.COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python3 -m local {command}")


def test_outside_its_environment_a_command_starts_again_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_environment_that_is_not_made_is_said_how_to_make(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    for name in ("__init__", "__main__", "errors"):
        (tmp_path / "local" / f"{name}.py").write_bytes((ROOT / "local" / f"{name}.py").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "local", "prepare"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "run `make envs` once" in done.stderr
