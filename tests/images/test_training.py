"""Training in real containers, started like on SageMaker."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serve import artifact
from tests.environments import REPOSITORY
from tests.images.conftest import (
    CASES,
    CLASSIFIER,
    DETECTOR,
    EACH,
    SEGMENTER,
    TENSORFLOW,
    Case,
    Channels,
    Job,
    channels_of,
    sizes,
)
from tests.images.container import RESTRICTED, Container
from tests.pages import DATA, metrics, snippet

Image = Callable[[str], str]
Trained = Callable[[Case], Path]
Drawn = Callable[[Case], Channels]


@EACH
def test_a_job_succeeds_with_read_only_root_another_uid_and_no_network(
    case: Case, trained: Trained, drawn_channels: Drawn
) -> None:
    model = trained(case)
    description = artifact.read(model)
    assert description.task == (case.task or case.name)
    assert len(description.class_names) == drawn_channels(case)[1]["num_classes"]
    assert case.files | {"model.onnx", "model.json"} <= {path.name for path in model.iterdir()}
    log = (model.parent / "log").read_text()
    assert "Permission denied" not in log
    assert "Read-only file system" not in log


@EACH
def test_each_documented_metric_definition_matches_a_number_in_the_log(case: Case, trained: Trained) -> None:
    log = (trained(case).parent / "log").read_text()
    for definition in metrics(case.name)[1]:
        values = re.findall(definition["Regex"], log)
        assert values, definition
        assert all(float(value) >= 0 for value in values), definition


def test_the_documented_commands_lay_out_and_train_a_local_run(image: Image, drawn: Path, tmp_path: Path) -> None:
    data = tmp_path / ".demo" / "image-classification" / "data"
    data.parent.mkdir(parents=True)
    data.symlink_to(drawn)
    laid_out, run = snippet("own-run", DATA), snippet("own-run-docker", DATA)
    for page, smaller in (('"360"', '"36"'), ('"epochs": "2"', '"epochs": "1"')):  # fewer photos than the demo
        assert page in laid_out
        laid_out = laid_out.replace(page, smaller)
    uri = "sagemaker-vision/image-classification:dev"
    assert uri in run
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", laid_out + run.replace(uri, image("image-classification"))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Set num_classes=6 num_training_samples=36" in done.stdout
    assert artifact.read(tmp_path / "DIR" / "model").class_names[0] == "beagle"
    assert {path.name for path in (tmp_path / "DIR" / "output").iterdir()} == {"success"}


@EACH
def test_jobs_do_not_change_the_channels(case: Case, trained: Trained, drawn_channels: Drawn) -> None:
    trained(case)
    assert {path.suffix for path in drawn_channels(case)[0].rglob("*") if path.is_file()} == case.kinds


@pytest.mark.parametrize(
    ("case", "wrong", "right"),
    [
        (CLASSIFIER, "num_layerz", "num_layers"),
        (DETECTOR, "base_netwrk", "base_network"),
        (SEGMENTER, "backbne", "backbone"),
        (TENSORFLOW, "alfa", "alpha"),
    ],
    ids=[case.name for case in CASES.values()],
)
def test_an_image_without_arguments_trains_and_a_wrong_hyperparameter_is_a_user_error(
    image: Image, job: Job, drawn_channels: Drawn, case: Case, wrong: str, right: str
) -> None:
    channels, counts = drawn_channels(case)
    others = {name: value for name, value in case.hyperparameters.items() if name != right}
    base, mounts = job(replace(case, hyperparameters=others), channels, counts | {wrong: 18})
    with Container(image(case.name), mounts=mounts) as container:
        assert container.wait(60) == 2, container.log()
    failure = (base / "output" / "failure").read_text()
    assert failure.startswith(f"ClientError: hyperparameter {wrong!r} is unknown: did you mean {right}?")


@pytest.mark.parametrize("case", [CLASSIFIER, TENSORFLOW], ids=lambda case: case.name)
def test_training_on_one_host_listens_on_no_port(image: Image, job: Job, drawn_channels: Drawn, case: Case) -> None:
    channels, counts = drawn_channels(case)
    _, mounts = job(case, channels, counts | {"epochs": 1000})
    with Container(image(case.name), "train", mounts=mounts, options=["--network=none"]) as container:
        container.wait_for("Storing the best model|Train-accuracy|Validation-accuracy", 120)
        sockets = container.execute("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
    listening = "0A"
    assert [line for line in sockets if line.split()[3] == listening] == []


def test_sigterm_keeps_the_best_model_and_exits_with_0_in_time(image: Image, job: Job, drawn_channels: Drawn) -> None:
    channels, counts = drawn_channels(CLASSIFIER)
    base, mounts = job(CLASSIFIER, channels, counts | {"epochs": 1000})
    with Container(image(CLASSIFIER.name), "train", mounts=mounts) as container:
        container.wait_for("Storing the best model", 120)
        started = time.monotonic()
        assert container.stop(120) == 0, container.log()
        assert time.monotonic() - started < 100
        assert "SIGTERM" in container.log()
    description = artifact.read(base / "model")
    assert description.task == CLASSIFIER.name
    assert list((base / "model").glob("image-classification-*.params"))
    assert not (base / "output" / "failure").exists()


def test_real_photos_with_unreadable_files_can_train(image: Image, job: Job, pets: Path, tmp_path: Path) -> None:
    summary = channels_of(pets, tmp_path / "channels", CLASSIFIER.name)
    base, mounts = job(CLASSIFIER, tmp_path / "channels", sizes(summary) | {"mini_batch_size": 32})
    with Container(image(CLASSIFIER.name), "train", mounts=mounts, options=RESTRICTED) as container:
        assert container.wait(240) == 0, container.log()
    description = json.loads((base / "model" / "model.json").read_text())
    assert description["class_names"] == list(summary.class_names)
