"""The TensorFlow image in local mode: a user's own script by SDK v2, and the image's own program on several hosts."""

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.serializers import JSONSerializer

from tests.local_mode.responses import SMALL, is_score
from tests.pages import SCRIPT_MODE, script_mode
from tests.sdk2.conftest import Cells


@pytest.fixture
def in_folder(script_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs beside source/train.py, data/ and image.json, as a notebook does."""
    monkeypatch.chdir(script_folder("keras3"))


def estimator(uri: str, hosts: int = 1, **options: Any) -> Estimator:
    """SDK v2's generic estimator in local mode."""
    role = "arn:aws:iam::111122223333:role/unused"
    return Estimator(uri, role, instance_count=hosts, instance_type="local", **options)


def scripted(uri: str, hyperparameters: dict[str, Any]) -> Estimator:
    """The same with source/train.py for its program."""
    return estimator(uri, entry_point="train.py", source_dir="source", hyperparameters=hyperparameters)


@pytest.mark.parametrize("name", ["keras3", "keras2"])
def test_the_script_mode_example_in_the_docs_trains_deploys_and_predicts(
    machine: Path, script_uri: str, script_folder: Callable[[str], Path], name: str
) -> None:
    code = script_mode("sdk2-script", script_uri, keras2=name == "keras2")
    cells = Cells(code, SCRIPT_MODE, script_folder(name))
    assert is_score(cells["predictions"]), cells["predictions"]
    assert "installed, works in /opt/ml/code." in cells.log
    assert "`/opt/ml/code`" in SCRIPT_MODE.read_text(encoding="utf-8")
    assert "model.onnx is what will be served, in the image inference too" in cells.log


def test_the_generic_estimator_of_sdk_v2_runs_a_script_too(machine: Path, script_uri: str, in_folder: None) -> None:
    fitted = scripted(script_uri, {"epochs": 1, "alpha": 0.35})
    fitted.fit({"training": "file://data"})
    predictor = fitted.deploy(1, "local", serializer=JSONSerializer(), deserializer=JSONDeserializer())
    try:
        answer = predictor.predict(json.loads(Path("image.json").read_text()))
    finally:
        predictor.delete_endpoint()
    assert is_score(answer), answer


def test_a_scripts_own_error_ends_the_job_with_its_exit_code_and_stands_in_the_log(
    machine: Path, script_uri: str, in_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("source", "train.py").write_text("import sys\nprint('no photos', file=sys.stderr)\nsys.exit(7)\n")
    with pytest.raises(RuntimeError, match="exited with code: 7"):
        scripted(script_uri, {}).fit({"training": "file://data"})
    assert "no photos (train.py ended with exit code 7)" in capsys.readouterr().out


def test_an_mxnet_image_refuses_a_script_in_one_sentence(
    machine: Path, uri: str, in_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="exited with code: 2"):
        scripted(uri, {}).fit({"training": "file://data"})
    sentence = "hyperparameter sagemaker_program='train.py' asks to run a script, which this"
    assert sentence in capsys.readouterr().out


def test_two_containers_of_a_job_train_as_one_does_and_leave_one_model(
    machine: Path, script_uri: str, in_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    still = {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0, "dropout": 0, "train_layers": "head"}
    values = {"image_shape": "3,32,32", "alpha": 0.35, "batch_size": 8, "epochs": 3, **still}
    logs, models = [], []
    for hosts in (1, 2):
        job = estimator(script_uri, hosts, hyperparameters=values, base_job_name="hosts")
        job.fit({"training": "file://data"})
        logs.append(capsys.readouterr().out)
        with tarfile.open(job.model_data.removeprefix("file://")) as archive:
            models.append(sorted(member.name for member in archive.getmembers() if member.isfile()))
    names = set(re.findall(r"All hosts are there\. This one is (algo-[12])-", logs[1]))
    assert names == {"algo-1", "algo-2"}
    alone, together = (re.findall(r"Epoch\[(\d)\] Validation-accuracy=(\S+)", log) for log in logs)
    assert [epoch for epoch, _ in alone] == ["0", "1", "2"]
    assert sorted(together) == sorted(alone * 2), "each of two hosts logs what one host alone does"
    assert models[0] == models[1] == ["model.json", "model.keras", "model.onnx"]


def test_two_containers_of_an_mxnet_image_log_the_same_metrics_and_leave_one_model(
    machine: Path, uri: str, small_channels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {**SMALL, "num_training_samples": 36, "epochs": 2}
    job = estimator(uri, 2, hyperparameters=values, base_job_name="hosts")
    job.fit({path.name: f"file://{path}" for path in sorted(small_channels.iterdir())})
    log = capsys.readouterr().out
    assert set(re.findall(r"All hosts are there\. This one is (algo-[12])-", log)) == {"algo-1", "algo-2"}
    measured = re.findall(r"Epoch\[(\d)\] Validation-accuracy=(\S+)", log)
    assert sorted(measured) == sorted([*set(measured)] * 2)
    assert {epoch for epoch, _ in measured} == {"0", "1"}
    with tarfile.open(job.model_data.removeprefix("file://")) as archive:
        names = [Path(member.name).name for member in archive.getmembers() if member.isfile()]
    assert sorted(names)[-2:] == ["model.json", "model.onnx"]
    assert len(names) == len(set(names))
