"""Training jobs of image-classification-tensorflow, run by the real `train` program in the TensorFlow environment."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.framework import bodies_tensorflow

Run = Callable[..., Any]
SMALL = {"image_shape": "3,32,32", "alpha": "0.35", "batch_size": 16, "epochs": 1}


def class_folders(base: Path, train: int = 48, validation: int = 12) -> Path:
    """The seed's layout: one channel `training` with the folders train/CLASS and validation/CLASS."""
    data = jobs.image_channels(base, train, validation) / "input" / "data"
    for name in ("train", "validation"):
        shutil.rmtree(data / f"{name}_lst")
        (data / "training").mkdir(exist_ok=True)
        (data / name).rename(data / "training" / name)
    return base


def run(base: Path, **options: Any) -> jobs.Done:
    """Run the job under `base`."""
    environ = {"VISION_ALGORITHM": "image-classification-tensorflow"}
    return jobs.run(base, environ=environ, environment="tensorflow", seconds=420, **options)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job on class folders that several tests look at."""
    base = class_folders(tmp_path_factory.mktemp("first"))
    photo = base / "input" / "data" / "training" / "train" / "across" / "0.jpg"
    photo.write_bytes(photo.read_bytes()[:400])
    jobs.configure(base, {**SMALL, "epochs": 2, "top_k": 2, "steps": 3}, defaults={})
    jobs.earlier_model(base)
    return run(base)


def test_the_log_lines_are_those_of_image_classification(first: jobs.Done) -> None:
    number = r"\d+\.\d{6}"
    for pattern in (
        r"Final configuration: \{.*'alpha': 0\.35.*\}",
        r"steps=3 is ignored: .*",
        r"Classes across, down, squares: 48 photos to train on, 12 to measure on \(training/validation\)",
        rf"Epoch\[0\] Train-accuracy={number}",
        rf"Epoch\[0\] Train-top_k_accuracy_2={number}",
        r"Epoch\[0\] Time cost=\d+\.\d{3}",
        rf"Epoch\[1\] Validation-accuracy={number}",
        rf"Epoch\[1\] Validation-top_k_accuracy_2={number}",
        rf"Storing the best model with validation accuracy: {number}",
        rf"Check of model\.onnx: largest difference from TensorFlow \S+ on 8 inputs; {number} by the server's code .*",
    ):
        assert [line for line in first.lines if re.fullmatch(pattern, line)], pattern


def test_a_stop_keeps_the_best_model_exported_and_checked_on_lst_channels(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, 32, 6)
    jobs.configure(base, {**SMALL, "epochs": 500, "num_classes": 3, "num_training_samples": 40}, defaults={})
    done = run(base, until="Epoch[1] Validation-accuracy")
    assert (done.code, done.failure) == (0, "")
    assert any(line.startswith("num_training_samples=40, but there are 32") for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert done.description["class_names"] == ["across", "down", "squares"]


def test_a_loss_that_is_not_finite_ends_the_job_and_keeps_the_best_model(in_tensorflow: Run, tmp_path: Path) -> None:
    base = class_folders(tmp_path, 32, 6)
    said = in_tensorflow(bodies_tensorflow.divergence, base)
    where = r"the (loss|answers) became (nan|inf) at epoch [12], .+, with learning_rate=1e\+27: lower"
    assert re.fullmatch(where + " .*; epoch 0, the best before, is kept", said), said
    assert {path.name for path in (base / "model").iterdir()} == {"model.onnx", "model.json", "model.keras"}


# ---- several hosts ----------------------------------------------------------------------------------------------

HOSTS = ("localhost", "127.0.0.1")  # two names of this machine


def run_on_two_hosts(folders: list[Path], **options: Any) -> list[jobs.Done]:
    """Run one job on two hosts, under a folder each."""
    for base, host in zip(folders, HOSTS, strict=True):
        config = base / "input" / "config" / "resourceconfig.json"
        config.write_text(json.dumps({"hosts": HOSTS, "current_host": host}))
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda base: run(base, **options), folders))


def validated(done: jobs.Done) -> list[str]:
    """The lines of the validation data."""
    return [line for line in done.lines if "Validation-" in line]


def test_two_hosts_that_train_all_layers_agree_and_a_stop_of_both_keeps_the_best_model(tmp_path: Path) -> None:
    folders = [class_folders(tmp_path / name) for name in ("one", "two")]
    for base in folders:
        jobs.configure(base, {**SMALL, "epochs": 500}, defaults={})
    both = run_on_two_hosts(folders, until="Epoch[2] Validation-accuracy", number=signal.SIGTERM)
    assert [(done.code, done.failure) for done in both] == [(0, "")] * 2
    assert validated(both[0])[:3] == validated(both[1])[:3]
    assert any(line.startswith("Check of model.onnx") for line in both[0].lines)
    assert (both[0].model / "model.json").exists()
