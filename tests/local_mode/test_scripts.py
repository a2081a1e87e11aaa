"""The TensorFlow image in local mode: a user's own script by both SDKs, and its own program on several hosts."""

import functools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.environments import REPOSITORY, run_in
from tests.local_mode import bodies_scripts as bodies
from tests.pages import snippet
from tests.wheels import write_tiny

In = Callable[..., Any]
PAGE = REPOSITORY / "docs" / "script-mode.md"
MAKEFILE_URI = "sagemaker-vision/image-classification-tensorflow:dev"
LEGACY = '    environment={"TF_USE_LEGACY_KERAS": "1"},'
SCRIPTS = REPOSITORY / "tests" / "fixtures" / "scripts"
# Before a script's own lines: it needs what its requirements.txt names.
WITNESS = "import os, tiny; print(f'{tiny.NAME}, works in {os.getcwd()}.', flush=True)\n"
FOLDERS = {"sdk2": "/opt/ml/code", "dev": "/opt/ml/input/data/code"}


@pytest.fixture(scope="session")
def script_uri(image: Callable[[str], str]) -> str:
    """The reference of the TensorFlow image."""
    return image("image-classification-tensorflow")


@pytest.fixture
def script_folder(drawn_pets: Path, tmp_path: Path) -> Callable[[str], Path]:
    """`script_folder(name)`: the folder a notebook runs in: source/train.py, class folders in data/, image.json."""

    def laid_out(name: str) -> Path:
        folder = tmp_path / "notebook"
        source = shutil.copytree(SCRIPTS / name, folder / "source")
        (source / "requirements.txt").write_text(write_tiny(source))
        script = (source / "train.py").read_text()
        (source / "train.py").write_text(WITNESS + script)
        for number, photo in enumerate(sorted((drawn_pets / "images").glob("*.jpg"))):
            # The data set's own rule: cats have a capital.
            species = "cat" if photo.name[0].isupper() else "dog"
            target = folder / "data" / ("validation" if number % 4 == 0 else "train") / species / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo, target)
        image = np.random.default_rng(0).random((1, 128, 128, 3)).round(4)
        (folder / "image.json").write_text(json.dumps(image.tolist()))
        return folder

    return laid_out


def is_answer(answer: Any) -> bool:
    """Whether it is the seed project's: `{'predictions': [[p]]}`."""
    (((probability,),),) = answer.values()
    return list(answer) == ["predictions"] and 0 <= probability <= 1


def code_for(name: str, mark: str, uri: str) -> str:
    """The page's snippet, for the script of the one Keras or the other."""
    code = snippet(mark, PAGE)
    assert MAKEFILE_URI in code
    assert LEGACY in code
    code = code.replace(MAKEFILE_URI, uri)
    return code if name == "keras2" else "\n".join(line for line in code.splitlines() if not line.startswith(LEGACY))


@pytest.mark.parametrize("name", ["keras3", "keras2"])
@pytest.mark.parametrize(
    ("mark", "environment"), [("sdk2-script", "sdk2"), ("sdk3-script", "dev")], ids=["sdk2", "sdk3"]
)
def test_a_script_is_fitted_deployed_and_answers_a_scaled_image_as_the_page_says(
    machine: Path, script_uri: str, script_folder: Callable[[str], Path], name: str, mark: str, environment: str
) -> None:
    run = functools.partial(run_in, environment)
    result = run(bodies.page, code_for(name, mark, script_uri), script_folder(name), timeout=900)
    assert is_answer(result["predictions"]), result["predictions"]
    assert f"installed, works in {FOLDERS[environment]}." in result["log"]
    assert f"`{FOLDERS[environment]}`" in PAGE.read_text(encoding="utf-8")
    if environment == "sdk2":
        assert "model.onnx is what will be served, in the image inference too" in result["log"]


def test_the_generic_estimator_of_sdk_v2_runs_a_script_too(
    machine: Path, script_uri: str, script_folder: Callable[[str], Path], in_sdk2: In
) -> None:
    folder = script_folder("keras3")
    result = in_sdk2(bodies.generic_estimator, script_uri, folder, {"epochs": 1, "alpha": 0.35}, timeout=600)
    assert result["error"] == ""
    assert is_answer(result["predictions"]), result["predictions"]


def test_a_scripts_own_error_ends_the_job_with_its_exit_code_and_stands_in_the_log(
    machine: Path, script_uri: str, script_folder: Callable[[str], Path], in_sdk2: In
) -> None:
    folder = script_folder("keras3")
    (folder / "source" / "train.py").write_text("import sys\nprint('no photos', file=sys.stderr)\nsys.exit(7)\n")
    result = in_sdk2(bodies.generic_estimator, script_uri, folder, {}, timeout=300)
    assert "exited with code: 7" in result["error"]
    assert "no photos (train.py ended with exit code 7)" in result["log"]


def test_an_mxnet_image_refuses_a_script_in_one_sentence(
    machine: Path, uri: str, script_folder: Callable[[str], Path], in_sdk2: In
) -> None:
    result = in_sdk2(bodies.generic_estimator, uri, script_folder("keras3"), {}, timeout=300)
    assert "exited with code: 2" in result["error"]
    assert "hyperparameter sagemaker_program='train.py' asks to run a script, which this" in result["log"]


def test_two_containers_of_a_job_train_as_one_does_and_leave_one_model(
    machine: Path, script_uri: str, script_folder: Callable[[str], Path], in_sdk2: In
) -> None:
    folder = script_folder("keras3")
    still = {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0, "dropout": 0, "train_layers": "head"}
    values = {"image_shape": "3,32,32", "alpha": 0.35, "batch_size": 8, "epochs": 3, **still}
    one, two = (in_sdk2(bodies.on_hosts, script_uri, folder, hosts, values, timeout=400) for hosts in (1, 2))
    names = set(re.findall(r"All hosts are there\. This one is (algo-[12])-", two["log"]))
    assert names == {"algo-1", "algo-2"}
    number = r"Epoch\[(\d)\] Validation-accuracy=(\S+)"
    alone = re.findall(number, one["log"])
    assert [epoch for epoch, _ in alone] == ["0", "1", "2"]
    assert sorted(re.findall(number, two["log"])) == sorted(alone * 2), "both hosts tell what one host alone tells"
    assert one["files"] == two["files"] == ["model.json", "model.keras", "model.onnx"]
