"""SageMaker's SDK v3 in local mode: a user's own script, and the commands of `python3 -m local` that use the SDK."""

import functools
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from local.commands import prepare
from local.sagemaker import docker as engine
from local.sagemaker import programs
from tests.environments import REPOSITORY
from tests.local_mode.commands import Command, run
from tests.local_mode.responses import SMALL, is_detections, is_probabilities
from tests.pages import snippet

MAKEFILE_URI = "sagemaker-vision/image-classification:dev"
SMALL_DETECTOR = {
    "base_network": "resnet-18",
    "use_pretrained_model": 0,
    "image_shape": 128,
    "mini_batch_size": 8,
    "epochs": 1,
    "num_classes": 2,
}
SMALL_SEGMENTER = {
    "backbone": "resnet-18",
    "use_pretrained_model": "False",
    "base_size": 64,
    "crop_size": 64,
    "mini_batch_size": 8,
    "validation_mini_batch_size": 8,
    "epochs": 1,
    "num_classes": 4,
}


@dataclass(frozen=True)
class Case:
    """A small job of an algorithm and its metric.

    `last_line` matches what `local-mode` prints, `logged` matches the training log, and `tolerance` is how far they may
    differ.
    """

    name: str
    hyperparameters: dict[str, object]
    classes: tuple[str, ...]
    last_line: str
    logged: str
    tolerance: float

    def is_response(self, body: str) -> bool:
        """Return whether an application/json response has this algorithm's form."""
        response = json.loads(body)
        if self.name == "object-detection":
            return is_detections(response["prediction"], len(self.classes))
        if self.name == "semantic-segmentation":
            return tuple(entry["label"] for entry in response["classes"]) == self.classes
        return is_probabilities(response, len(self.classes))


CLASSIFIER = Case(
    name="image-classification",
    hyperparameters=SMALL,
    classes=("beagle", "Bengal", "pug"),
    last_line=r"accuracy (\d\.\d\d) \(\d+ of 12\)",
    logged=r"Epoch\[0\] Validation-accuracy=(\d\.\d+)",
    tolerance=0.006,  # the last line has two digits
)
DETECTOR = Case(
    name="object-detection",
    hyperparameters=SMALL_DETECTOR,
    classes=("cat", "dog"),
    last_line=r"mAP (\d\.\d\d) \(VOC07, 6 photos\)",
    logged=r"epoch=0, validation mAP <score>=\((\d\.\d+)\)",
    tolerance=0.015,  # the log measures boxes in pixels of the network's input, with both ends included
)
SEGMENTER = Case(
    name="semantic-segmentation",
    hyperparameters=SMALL_SEGMENTER,
    classes=("unused", "pet", "background", "border"),
    last_line=r"mIOU (\d\.\d\d) \(3 classes, 12 photos\)",
    logged=r"epoch: 0, validation mIOU: (\d\.\d+)",
    tolerance=0.006,  # the last line has two digits
)
CASES = {case.name: case for case in (CLASSIFIER, DETECTOR, SEGMENTER)}
ALL_CASES = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a space in its name, and without any configuration of AWS or the SDKs."""
    folder = tmp_path / "my home"
    folder.mkdir()
    return folder


def assignments(hyperparameters: dict[str, object]) -> list[str]:
    return [f"{name}={value}" for name, value in hyperparameters.items()]


def check_masks(home: Path, port: int, photos: list[str]) -> None:
    """Check that `predict --masks` writes a mask of the photo's size for each photo."""
    code, lines = run(home, "predict", *photos, "--port", port, "--masks", home / "masks")
    assert code == 0, lines
    for photo in map(Path, photos):
        with Image.open(photo) as image, Image.open(home / "masks" / f"{photo.stem}.png") as mask:
            assert (mask.mode, mask.size) == ("P", image.size)


def leftovers(folder: Path) -> list[str]:
    """Return what a command should have removed: containers and workspaces below `folder`, and the network."""
    networks = subprocess.run(
        ["docker", "network", "ls", "--quiet", "--filter", f"name=^{engine.NETWORK}$"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    workspaces = [str(path) for path in folder.rglob("local-mode-*") if path.is_dir()]
    return engine.containers(folder) + workspaces + networks


@pytest.fixture(scope="module")
def folders(small_channels: Path, boxed_channels: Path, masked_channels: Path) -> dict[str, Path]:
    """The folder with the channels of each algorithm."""
    return {
        "image-classification": small_channels,
        "object-detection": boxed_channels,
        "semantic-segmentation": masked_channels,
    }


@pytest.fixture(scope="module")
def model(
    image: Callable[[str], str], folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Case], Path]:
    """Return `model(case)`, which gives the model.tar.gz of `python3 -m local train`. Each case is trained once."""

    @functools.cache
    def trained(name: str) -> Path:
        case, home = CASES[name], tmp_path_factory.mktemp("train")
        channels = folders[name]
        arguments = ["train", name, "--image", image(name), "--channels", channels, "--out", home / "out"]
        code, lines = run(home, *arguments, "--hyperparameters", *assignments(case.hyperparameters))
        assert code == 0, "\n".join(lines)
        assert leftovers(home) == []
        return home / "out" / "model.tar.gz"

    return lambda case: trained(case.name)


def test_the_sdk_v3_example_in_the_docs_trains_deploys_and_predicts(
    machine: Path, uri: str, notebook_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = snippet("sdk3")
    assert MAKEFILE_URI in code
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    last = "import json; open('answer.json', 'w').write(json.dumps(probabilities))"
    program = f"{code.replace(MAKEFILE_URI, uri)}\n{last}"
    subprocess.run([sys.executable, "-c", program], cwd=notebook_folder, timeout=420, check=True)
    probabilities = json.loads((notebook_folder / "answer.json").read_text())
    assert is_probabilities(probabilities, 3), probabilities


@ALL_CASES
@pytest.mark.parametrize("served_by", ["its own image", "inference"])
def test_a_trained_model_is_deployed_and_predicts_and_ctrl_c_leaves_nothing_behind(
    model: Callable[[Case], Path],
    image: Callable[[str], str],
    case: Case,
    served_by: str,
    folders: dict[str, Path],
    home: Path,
) -> None:
    port = programs.free_port()
    name = "inference" if served_by == "inference" else case.name
    photos = [str(path) for path, _ in prepare.photos(folders[case.name], "validation", case.name)[:2]]
    with Command(home, "deploy", name, "--image", image(name), "--model", model(case), "--port", port) as deploy:
        deploy.wait_for(f"The endpoint is ready on port {port}")
        code, lines = run(home, "predict", *photos, "--port", port)
        assert code == 0, lines
        assert list(dict.fromkeys(line.split("  ")[0] for line in lines)) == photos
        assert all(line.split("  ")[1] in case.classes for line in lines), lines
        code, lines = run(home, "predict", photos[0], "--port", port, "--accept", "application/json")
        assert code == 0, lines
        assert case.is_response(lines[0]), lines
        if case is SEGMENTER:
            check_masks(home, port, photos)
        deploy.interrupt()
        assert deploy.finish() == 0, "\n".join(deploy.lines)
    assert leftovers(home) == []
    code, lines = run(home, "predict", photos[0], "--port", port)
    assert code == 1
    assert f"no endpoint on port {port}" in lines[-1]


def test_deploy_fails_early_if_the_model_cannot_be_served(uri: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model.json", "model.json")
    arguments = ["image-classification", "--image", uri, "--model", tmp_path / "model.tar.gz"]
    with Command(home, "deploy", *arguments, "--port", programs.free_port(), seconds=60) as deploy:
        assert deploy.finish() == 1, "\n".join(deploy.lines)
    assert any("model.json" in line for line in deploy.lines), "the server's error is in the log"
    assert "exited before it responded to /ping" in deploy.lines[-1]
    assert leftovers(home) == []


def test_train_ends_with_the_error_about_a_hyperparameter_and_leaves_nothing_behind(
    uri: str, small_channels: Path, home: Path
) -> None:
    hyperparameters = assignments({**SMALL, "num_training_samples": 36, "optimiser": "adam"})
    arguments = ["train", "image-classification", "--image", uri, "--channels", small_channels]
    code, lines = run(home, *arguments, "--hyperparameters", *hyperparameters)
    assert code == 1
    assert lines[-1].startswith("train: ClientError: ")
    assert "did you mean optimizer?" in lines[-1]
    assert leftovers(home) == []


def test_ctrl_c_during_training_ends_the_job_and_leaves_nothing_behind(
    uri: str, small_channels: Path, home: Path
) -> None:
    endless = assignments({**SMALL, "num_training_samples": 36, "epochs": 100000})
    arguments = ["train", "image-classification", "--image", uri, "--channels", small_channels]
    with Command(home, *arguments, "--hyperparameters", *endless) as command:
        command.wait_for("Epoch[0] Validation-accuracy=")
        command.interrupt()
        assert command.finish() == 130, "\n".join(command.lines)
    assert leftovers(home) == []
    assert not (home / ".local" / "image-classification" / "model.tar.gz").exists()


@pytest.mark.parametrize(("case", "hosts"), [(CLASSIFIER, 2), (DETECTOR, 1), (SEGMENTER, 1)], ids=CASES)
def test_the_endpoint_scores_as_in_the_training_log_on_one_host_or_two(
    image: Callable[[str], str], case: Case, hosts: int, drawn_pets: Path, home: Path
) -> None:
    arguments = [case.name, "--image", image(case.name), "--data", drawn_pets, "--epochs", 1, "--instances", hosts]
    with Command(home, "local-mode", *arguments, "--port", programs.free_port()) as workflow:
        assert workflow.finish() == 0, "\n".join(workflow.lines)
    printed = re.fullmatch(case.last_line, workflow.lines[-1])
    logged = re.search(case.logged, "\n".join(workflow.lines))
    host_lines = re.findall(r"This host is algo-\d; algo-1 writes the model", "\n".join(workflow.lines))
    assert len(host_lines) == (hosts if hosts > 1 else 0)
    assert printed, workflow.lines[-1]
    assert logged, "\n".join(workflow.lines)
    assert float(printed[1]) == pytest.approx(float(logged[1]), abs=case.tolerance)
    model = home / ".local" / case.name / "model.tar.gz"
    deploy_command = next(line.strip() for line in workflow.lines if "local deploy" in line)
    assert deploy_command.startswith(f"python3 -m local deploy {case.name} --model {model.relative_to(home)}")
    assert model.is_file()
    assert (home / ".local" / case.name / "predictions.png").stat().st_size > 1000
    assert leftovers(home) == []
