"""The TensorFlow image in SDK v2's local mode: user scripts, and the built-in program on several hosts."""

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
    """Run the test in a folder with source/train.py, data/ and image.json, like a notebook."""
    monkeypatch.chdir(script_folder("keras3"))


def estimator(uri: str, hosts: int = 1, **options: Any) -> Estimator:
    """Return SDK v2's generic estimator in local mode."""
    role = "arn:aws:iam::111122223333:role/unused"
    return Estimator(uri, role, instance_count=hosts, instance_type="local", **options)


def scripted(uri: str, hyperparameters: dict[str, Any]) -> Estimator:
    """Return an estimator that runs source/train.py."""
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
    assert "model.onnx will be served by this image and by the image inference" in cells.log


def test_sdk_v2s_generic_estimator_runs_a_script(machine: Path, script_uri: str, in_folder: None) -> None:
    trained = scripted(script_uri, {"epochs": 1, "alpha": 0.35})
    trained.fit({"training": "file://data"})
    predictor = trained.deploy(1, "local", serializer=JSONSerializer(), deserializer=JSONDeserializer())
    try:
        predictions = predictor.predict(json.loads(Path("image.json").read_text()))
    finally:
        predictor.delete_endpoint()
    assert is_score(predictions), predictions


def test_a_scripts_error_is_in_the_log_and_its_exit_code_is_passed_on(
    machine: Path, script_uri: str, in_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("source", "train.py").write_text("import sys\nprint('no photos', file=sys.stderr)\nsys.exit(7)\n")
    with pytest.raises(RuntimeError, match="exited with code: 7"):
        scripted(script_uri, {}).fit({"training": "file://data"})
    assert "no photos (train.py ended with exit code 7)" in capsys.readouterr().out


def test_an_mxnet_image_rejects_a_script_with_one_sentence(
    machine: Path, uri: str, in_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="exited with code: 2"):
        scripted(uri, {}).fit({"training": "file://data"})
    sentence = "hyperparameter sagemaker_program='train.py' requests a script, which this"
    assert sentence in capsys.readouterr().out


def test_two_containers_of_a_job_train_like_one_and_write_one_model(
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
    names = set(re.findall(r"All hosts are connected\. This host is (algo-[12])-", logs[1]))
    assert names == {"algo-1", "algo-2"}
    one_host, two_hosts = (re.findall(r"Epoch\[(\d)\] Validation-accuracy=(\S+)", log) for log in logs)
    assert [epoch for epoch, _ in one_host] == ["0", "1", "2"]
    assert sorted(two_hosts) == sorted(one_host * 2), "each of two hosts must log the same as one host"
    assert models[0] == models[1] == ["model.json", "model.keras", "model.onnx"]


def test_two_containers_of_an_mxnet_image_log_the_same_metrics_and_write_one_model(
    machine: Path, uri: str, small_channels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {**SMALL, "num_training_samples": 36, "epochs": 2}
    job = estimator(uri, 2, hyperparameters=values, base_job_name="hosts")
    job.fit({path.name: f"file://{path}" for path in sorted(small_channels.iterdir())})
    log = capsys.readouterr().out
    assert set(re.findall(r"All hosts are connected\. This host is (algo-[12])-", log)) == {"algo-1", "algo-2"}
    measured = re.findall(r"Epoch\[(\d)\] Validation-accuracy=(\S+)", log)
    assert sorted(measured) == sorted([*set(measured)] * 2)
    assert {epoch for epoch, _ in measured} == {"0", "1"}
    with tarfile.open(job.model_data.removeprefix("file://")) as archive:
        names = [Path(member.name).name for member in archive.getmembers() if member.isfile()]
    assert sorted(names)[-2:] == ["model.json", "model.onnx"]
    assert len(names) == len(set(names))
