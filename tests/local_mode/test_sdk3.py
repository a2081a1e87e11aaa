"""SageMaker's SDK v3 in local mode: a user's own script, and the commands of `python -m local` that drive it."""

import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from local import docker as engine
from local import prepare, programs
from tests.environments import run_in
from tests.local_mode.bodies import SMALL, is_probabilities, script
from tests.local_mode.commands import Command, run

MAKEFILE_URI = "sagemaker-vision/image-classification:dev"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder without any configuration of AWS or the SDKs."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def words(hyperparameters: dict[str, object]) -> list[str]:
    return [f"{name}={value}" for name, value in hyperparameters.items()]


def left_behind(folder: Path) -> list[str]:
    """What a command should have taken away: containers made from below `folder`, its workspace, the network."""
    networks = subprocess.run(
        ["docker", "network", "ls", "--quiet", "--filter", f"name=^{engine.NETWORK}$"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    workspaces = [str(path) for path in folder.rglob("local-mode-*") if path.is_dir()]
    return engine.containers(folder) + workspaces + networks


@pytest.fixture(scope="module")
def model(uri: str, small_channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model.tar.gz of `python -m local train`."""
    home = tmp_path_factory.mktemp("train")
    arguments = [
        *("train", "image-classification", "--image", uri, "--channels", small_channels, "--out", home / "out"),
        *("--hyperparameters", *words({**SMALL, "num_training_samples": 36})),
    ]
    code, lines = run(home, *arguments)
    assert code == 0, "\n".join(lines)
    assert left_behind(home) == []
    return home / "out" / "model.tar.gz"


def test_a_script_of_the_documentation_trains_deploys_and_predicts(
    machine: Path, uri: str, snippet: Callable[[str], str], notebook_folder: Path
) -> None:
    code = snippet("sdk3")
    assert MAKEFILE_URI in code
    probabilities = run_in("dev", script, code.replace(MAKEFILE_URI, uri), notebook_folder, timeout=420)
    assert is_probabilities(probabilities, 3), probabilities


@pytest.mark.parametrize("name", ["image-classification", "inference"])
def test_a_trained_model_is_deployed_asked_and_deleted_on_ctrl_c_with_nothing_left_behind(
    model: Path, image: Callable[[str], str], name: str, small_channels: Path, home: Path
) -> None:
    port = programs.free_port()
    photos = [str(path) for path, _ in prepare.photos(small_channels, "validation")[:2]]
    with Command(home, "deploy", name, "--image", image(name), "--model", model, "--port", port) as deploy:
        deploy.wait_for(f"The endpoint answers on port {port}")
        code, lines = run(home, "predict", *photos, "--port", port)
        assert code == 0, lines
        assert [line.split("  ")[0] for line in lines] == photos
        classes = {path.name for path in (small_channels / "validation").iterdir()}
        assert all(line.split("  ")[1] in classes for line in lines), lines
        code, lines = run(home, "predict", photos[0], "--port", port, "--accept", "application/json")
        assert code == 0, lines
        assert is_probabilities(json.loads(lines[0]), len(classes)), lines
        deploy.interrupt()
        assert deploy.finish() == 0, "\n".join(deploy.lines)
    assert left_behind(home) == []
    code, lines = run(home, "predict", photos[0], "--port", port)
    assert code == 1
    assert f"no endpoint answers on port {port}" in lines[-1]


def test_a_model_that_cannot_be_served_ends_deploy_long_before_the_sdk_gives_up(
    uri: str, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "model.json").write_text("{}")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model.json", "model.json")
    arguments = ["image-classification", "--image", uri, "--model", tmp_path / "model.tar.gz"]
    with Command(home, "deploy", *arguments, "--port", programs.free_port(), seconds=60) as deploy:
        assert deploy.finish() == 1, "\n".join(deploy.lines)
    assert any("model.json" in line for line in deploy.lines), "the server's own reason is in the log"
    assert "ended before it answered /ping" in deploy.lines[-1]
    assert left_behind(home) == []


def test_a_wrong_hyperparameter_is_the_last_line_of_train_and_nothing_is_left_behind(
    uri: str, small_channels: Path, home: Path
) -> None:
    wrong = words({**SMALL, "num_training_samples": 36, "num_layer": 18})
    arguments = ["train", "image-classification", "--image", uri, "--channels", small_channels]
    code, lines = run(home, *arguments, "--hyperparameters", *wrong)
    assert code == 1
    assert lines[-1].startswith("train: ClientError: ")
    assert "num_layers" in lines[-1]
    assert left_behind(home) == []


def test_ctrl_c_while_training_ends_the_job_and_leaves_nothing_behind(
    uri: str, small_channels: Path, home: Path
) -> None:
    endless = words({**SMALL, "num_training_samples": 36, "epochs": 100000})
    arguments = ["train", "image-classification", "--image", uri, "--channels", small_channels]
    with Command(home, *arguments, "--hyperparameters", *endless) as command:
        command.wait_for("Epoch[0] Validation-accuracy=")
        command.interrupt()
        assert command.finish() == 130, "\n".join(command.lines)
    assert left_behind(home) == []
    assert not (home / ".local" / "image-classification" / "model.tar.gz").exists()


def test_the_journey_says_of_the_endpoint_the_accuracy_that_training_logged(
    uri: str, drawn_pets: Path, home: Path
) -> None:
    arguments = ["image-classification", "--image", uri, "--data", drawn_pets, "--epochs", 1]
    with Command(home, "local-mode", *arguments, "--port", programs.free_port()) as journey:
        assert journey.finish() == 0, "\n".join(journey.lines)
    asked = re.fullmatch(r"accuracy (\d\.\d\d) \((\d+) of (\d+)\)", journey.lines[-1])
    logged = re.search(r"Epoch\[0\] Validation-accuracy=(\d\.\d+)", "\n".join(journey.lines))
    assert asked, journey.lines[-1]
    assert logged, "\n".join(journey.lines)
    assert int(asked[2]) / int(asked[3]) == pytest.approx(float(logged[1]), abs=0.01)
    assert (home / ".local" / "image-classification" / "predictions.png").stat().st_size > 1000
    assert left_behind(home) == []
