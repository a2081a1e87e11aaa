"""Whole jobs of image-classification-tensorflow on one or two hosts, mostly with the real `train`."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serve import artifact
from serve.artifact import FLOAT32, INT8, MODEL_INT8
from tests import jobs
from tests.tensorflow import small
from train.errors import UserError
from train.image_classification_tensorflow import job
from train.job import training

SMALL = {"image_shape": "3,32,32", "alpha": "0.35", "batch_size": 16, "epochs": 1}


def class_folders(base: Path, train: int, validation: int, classes: Sequence[str] = jobs.CLASSES) -> Path:
    """Lay out the seed project's folders: one channel `training` with train/CLASS and validation/CLASS."""
    data = jobs.image_channels(base, train, validation) / "input" / "data"
    for part in ("train", "validation"):
        shutil.rmtree(data / f"{part}_lst")
        for name in classes:
            (data / "training" / part).mkdir(parents=True, exist_ok=True)
            (data / part / name).rename(data / "training" / part / name)
        shutil.rmtree(data / part)
    return base


def run(base: Path, **options: Any) -> jobs.Done:
    """Run the job under `base`."""
    environ = {"VISION_ALGORITHM": "image-classification-tensorflow"}
    return jobs.run(base, environ=environ, environment="tensorflow", seconds=420, **options)


def run_on_two_hosts(folders: Sequence[Path]) -> list[jobs.Done]:
    """Run one job on two hosts, each with a folder."""
    environ = {"VISION_ALGORITHM": "image-classification-tensorflow"}
    return jobs.run_on_two_hosts(folders, environ=environ, environment="tensorflow", seconds=420)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job that trains all layers, with a truncated photo and an earlier model in the model folder."""
    base = class_folders(tmp_path_factory.mktemp("first"), 48, 12)
    photo = base / "input" / "data" / "training" / "train" / "across" / "0.jpg"
    photo.write_bytes(photo.read_bytes()[:400])
    jobs.configure(base, {**SMALL, "epochs": 2, "top_k": 2}, defaults={})
    jobs.earlier_model(base)
    return run(base)


def test_a_job_with_the_seed_projects_layout_exits_with_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["class_names"] == ["across", "down", "squares"]
    assert first.description["network"] == "mobilenetv2_0.35"


def test_a_truncated_photo_is_named_and_left_out(first: jobs.Done) -> None:
    name = "training/train/across/0.jpg is left out because it is truncated"
    assert any(line.startswith(name) for line in first.lines)


@pytest.mark.parametrize("line", ["Epoch[0] Train-top_k_accuracy_2", "Epoch[1] Validation-top_k_accuracy_2"])
def test_top_k_accuracy_is_logged(line: str, first: jobs.Done) -> None:
    assert [text for text in first.lines if re.fullmatch(re.escape(line) + r"=\d+\.\d{6}", text)]


def test_the_model_folder_holds_graph_description_and_keras_file(first: jobs.Done) -> None:
    assert {path.name for path in first.model.iterdir()} == {"model.onnx", "model.json", "model.keras"}


def above_pretrained(first: jobs.Done, base: Path) -> Path:
    """Lay out a job that trains the head for two classes on top of the first job's layers."""
    class_folders(base, 48, 48, jobs.CLASSES[:2])
    shutil.copytree(first.model, base / "input" / "data" / "pretrained")
    jobs.configure(
        base,
        {**SMALL, "use_pretrained_model": 1, "epochs": 8, "dropout": 0, "quantize": "int8", **small.STILL},
        defaults={},
    )
    return base


@pytest.fixture(scope="module")
def second(first: jobs.Done, tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """The job of `above_pretrained`, on one host."""
    return run(above_pretrained(first, tmp_path_factory.mktemp("second")))


def test_a_jobs_keras_file_can_be_pretrained_weights_for_other_classes(second: jobs.Done) -> None:
    assert (second.code, second.failure) == (0, "")
    assert second.description["class_names"] == ["across", "down"]
    loaded = r"Pretrained weights: 260 arrays of mobilenetv2_0\.35 from \S+/model\.keras; .*"
    assert [line for line in second.lines if re.fullmatch(loaded, line)]


def validated(done: jobs.Done) -> list[str]:
    """Return the log lines about validation."""
    return [line for line in done.lines if "Validation-" in line]


def test_a_job_with_quantize_int8_writes_the_graph_that_passes_its_comparison(second: jobs.Done) -> None:
    """After little training the predictions are almost random, so either result of the comparison is valid."""
    quantization = artifact.read(second.model).quantization
    kept = [trial["kept"] for trial in quantization.report["tries"]]
    assert kept in ([True], [False, True], [False, False])
    assert quantization.serves == (INT8 if kept[-1] else FLOAT32)
    assert (second.model / MODEL_INT8).exists() is kept[-1]
    assert len(
        [line for line in second.lines if line.startswith("int8 compared with float: validation score ")]
    ) == len(kept)
    assert [trial["score"]["photos"] for trial in quantization.report["tries"]] == [32] * len(kept)


def test_two_hosts_train_a_head_exactly_like_one_and_only_the_first_writes_the_model(
    first: jobs.Done, second: jobs.Done, tmp_path: Path
) -> None:
    both = run_on_two_hosts([above_pretrained(first, tmp_path / name) for name in ("one", "two")])
    assert [done.code for done in both] == [0, 0]
    assert len(validated(second)) == 8
    assert validated(both[0]) == validated(both[1]) == validated(second)
    assert {path.name for path in both[0].model.iterdir()} - {MODEL_INT8} == {"model.onnx", "model.json", "model.keras"}
    assert list(both[1].model.iterdir()) == []


def test_hosts_with_different_photos_fail_with_a_user_error(tmp_path: Path) -> None:
    folders = [class_folders(tmp_path / name, 18, 3) for name in ("one", "two")]
    (folders[1] / "input" / "data" / "training" / "train" / "across" / "0.jpg").unlink()
    for base in folders:
        jobs.configure(base, SMALL, defaults={})
    for done in run_on_two_hosts(folders):
        assert done.code == 2
        assert done.failure.startswith("ClientError: channel 'training' has different images on different hosts (")
        assert "Traceback" not in done.log


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"epoch": 3}, "hyperparameter 'epoch' is unknown: remove it; epochs is already set"),
        ({"use_pretrained_model": 1}, "pretrained weights of mobilenetv2_0.35 were requested but not found"),
    ],
)
def test_a_user_error_is_reported_and_the_earlier_model_stays(
    values: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    base = class_folders(tmp_path, 9, 3)
    jobs.configure(base, {}, defaults={})
    jobs.earlier_model(base)
    with pytest.raises(UserError, match=f"^{re.escape(reason)}"):
        training.run(job.ALGORITHM, base, {name: str(value) for name, value in (SMALL | values).items()}, {})
    assert {path.name: path.read_text() for path in (base / "model").iterdir()} == jobs.EARLIER
