"""Whole jobs of image-classification: logs, model folder, and failures."""

import json
import os
import re
import resource
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from tests import jobs
from tests.mxnet import in_process
from train.classification.predictions import OUTPUT
from train.verify import Check, verify


def snapshot(folder: Path) -> dict[str, tuple[int, float]]:
    """Return size and modification time of every file below `folder`."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime) for path in sorted(folder.rglob("*"))}


# ---- one job for several tests ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job in image format, with the model of an earlier job."""
    base = jobs.image_channels(tmp_path_factory.mktemp("first"))
    # With the usual rate of 0.05 and so few steps, the accuracy is 0.67 to 1.0, depending on the processor.
    changes = {"top_k": 2, "checkpoint_frequency": 3, "epochs": 6, "learning_rate": 0.02}
    jobs.configure(base, changes, "FastFile", "application/x-image")
    jobs.earlier_model(base)
    return base


@pytest.fixture(scope="module")
def input_before(base: Path) -> dict[str, tuple[int, float]]:
    """A snapshot of the job's input folder before it runs."""
    return snapshot(base / "input")


@pytest.fixture(scope="module")
def first(base: Path, input_before: dict[str, tuple[int, float]]) -> jobs.Done:
    """The job, run by the real program."""
    return jobs.run(base)


def test_a_job_learns_and_exits_with_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["metrics"]["validation:accuracy"] >= 0.9


def test_a_job_does_not_change_its_channels(
    first: jobs.Done, base: Path, input_before: dict[str, tuple[int, float]]
) -> None:
    assert snapshot(base / "input") == input_before


def test_the_log_lines_match_the_built_in_algorithm(first: jobs.Done) -> None:
    patterns = [
        r"Docker entrypoint called with argument\(s\): train",
        r"Final configuration: \{.*'num_layers': 20.*\}",
        r"Epoch\[0\] Train-accuracy=\d+\.\d{6}",
        r"Epoch\[0\] Train-top_k_accuracy_2=\d+\.\d{6}",
        r"Epoch\[0\] Time cost=\d+\.\d{3}",
        r"Epoch\[5\] Validation-accuracy=\d+\.\d{6}",
        r"Epoch\[5\] Validation-top_k_accuracy_2=\d+\.\d{6}",
        r"Storing the best model with validation accuracy: \d+\.\d{6}",
        rf'Saved checkpoint to "{re.escape(str(first.model))}/image-classification-0001\.params"',
    ]
    assert [text for text in patterns if not any(re.fullmatch(text, line) for line in first.lines)] == []


def test_the_model_folder_holds_the_built_ins_files_with_the_best_and_every_nth_epoch(first: jobs.Done) -> None:
    best = first.description["metrics"]["epoch"] + 1
    kept = {f"image-classification-{epoch:04d}.params" for epoch in {3, 6, best}}
    others = {"image-classification-symbol.json", "model-shapes.json", "model.json", "model.onnx"}
    assert {path.name for path in first.model.iterdir()} == kept | others


def test_the_last_line_explains_the_numbers_of_epochs_and_files(first: jobs.Done) -> None:
    epoch = first.description["metrics"]["epoch"]
    last = next(line for line in first.lines if line.startswith(f"The model of epoch {epoch} is in {first.model}: "))
    assert f"image-classification-{epoch + 1:04d}.params" in last
    assert last.endswith(" (epochs count from 0, files from 1)")


def test_class_names_come_from_the_image_folders(first: jobs.Done) -> None:
    assert first.description["class_names"] == ["across", "down", "squares"]


def test_the_native_files_load_into_mxnets_module_and_match_the_onnx_graph(first: jobs.Done) -> None:
    tensors = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    epoch = first.description["metrics"]["epoch"] + 1
    symbol, arguments, auxiliary = mx.model.load_checkpoint(f"{first.model}/image-classification", epoch)
    shapes = {item["name"]: item["shape"] for item in json.loads((first.model / "model-shapes.json").read_text())}
    module = mx.mod.Module(symbol, data_names=list(shapes))
    module.bind([("data", (2, *shapes["data"][1:]))], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([mx.nd.array(tensors)]), is_train=False)
    native = {OUTPUT: module.get_outputs()[0].asnumpy()}
    # This runs model.onnx in the serving environment and raises if it differs by more than the tolerance.
    verify(first.model, Check(tensors, native, [], metric=lambda answers: 0.0, logged=0.0, tolerance=1e-5))


# ---- other inputs and settings ----------------------------------------------------------------------------------


def test_recordio_trains_with_class_names_from_classes_txt(tmp_path: Path) -> None:
    source = jobs.image_channels(tmp_path / "source", train=32, validation=6)
    base = jobs.record_channels(tmp_path, source)
    jobs.configure(base, {"resize": None, "epochs": 1}, content_type="application/x-recordio")
    done = in_process.run(base)
    assert done.code == 0
    assert done.description["class_names"] == ["Across", "Down", "Squares"]
    assert done.description["input"]["resize"] == 48  # the shorter side of the photos


@pytest.mark.parametrize(
    ("form", "width", "height", "resize"),
    [
        ("rec", 32, 32, None),
        ("rec", 56, 32, None),
        ("rec", 32, 56, None),
        ("rec", 56, 32, 32),
        ("lst", 56, 32, 32),
        ("lst", 32, 56, 32),
    ],
)
def test_a_fully_trained_model_is_accurate_in_the_servers_code_for_all_shapes(
    form: str, width: int, height: int, resize: int | None, tmp_path: Path
) -> None:
    base = jobs.barred_channels(tmp_path, width, height, form)
    jobs.configure(base, {"image_shape": f"3,{height},{width}", "resize": resize}, defaults=jobs.BARRED)
    done = in_process.run(base)
    assert done.code == 0
    trained = [line for line in done.lines if "Train-accuracy=" in line][-1]
    assert trained.endswith("=1.000000")
    # The job fails unless the server's code is within 0.01 of this. One photo of 32 is 0.03.
    assert done.description["metrics"]["validation:accuracy"] == 1.0
    assert done.description["input"]["resize"] == 32  # the shorter side of the crops


def test_one_channel_images_give_a_one_channel_artifact(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    jobs.configure(base, {"image_shape": "1,32,32", "augmentation_type": "crop_color_transform", "epochs": 2})
    done = in_process.run(base)
    assert done.code == 0
    assert (done.description["input"]["channels"], done.description["input"]["colour"]) == (1, "L")


def test_multi_label_training_uses_sigmoids_and_a_weighted_loss(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path)
    for channel in ("train", "validation"):
        path = base / "input" / "data" / f"{channel}_lst" / f"{channel}.lst"
        hot = {"0": "1\t0\t1", "1": "0\t1\t1", "2": "0\t0\t0"}
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        jobs.write_lst(base, channel, [f"{index}\t{hot[label]}\t{name}" for index, label, name in rows])
    jobs.configure(base, {"multi_label": 1, "use_weighted_loss": 1, "epochs": 4})
    done = in_process.run(base)
    assert (done.code, done.description["output"]) == (0, "sigmoid")
    assert done.description["metrics"]["validation:accuracy"] > 0.8


def test_settings_without_effect_are_logged_and_ignored(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    values = {"use_weighted_loss": 1, "precision_dtype": "float16", "kv_store": "dist_sync", "num_training_samples": 40}
    jobs.configure(base, {**values, "epochs": 1})
    done = in_process.run(base)
    assert done.code == 0
    for text in (
        "use_weighted_loss=1 is ignored",
        "precision_dtype=float16 is ignored",
        "kv_store=dist_sync is not used",
    ):
        assert sum(text in line for line in done.lines) == 1, text
    assert any(line.startswith("num_training_samples=40, but there are 32") for line in done.lines)


# ---- failures ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job with a typo in a hyperparameter, in the folder of an earlier job, run by the real program."""
    base = jobs.image_channels(tmp_path_factory.mktemp("rejected"), train=16, validation=3)
    jobs.configure(base, {"epoch": 3})
    jobs.earlier_model(base)
    (base / "output").mkdir()
    for name in ("failure", "success"):
        (base / "output" / name).write_text("an earlier run")
    return jobs.run(base)


def test_a_user_error_exits_2_and_starts_the_failure_file_with_client_error(rejected: jobs.Done) -> None:
    assert rejected.code == 2
    assert rejected.failure.startswith(
        "ClientError: hyperparameter 'epoch' is unknown: remove it; epochs is already set"
    )
    assert "Traceback" not in rejected.log
    assert len(rejected.failure) <= 1024


def test_a_failed_run_replaces_the_reports_of_an_earlier_run(rejected: jobs.Done) -> None:
    assert rejected.failure.startswith("ClientError: hyperparameter 'epoch' is unknown")
    assert not (rejected.model.parent / "output" / "success").exists()
    assert "Failure file exists" not in rejected.log


def test_a_rejected_job_keeps_the_earlier_model(rejected: jobs.Done) -> None:
    assert rejected.texts() == jobs.EARLIER


@pytest.mark.parametrize(
    ("values", "failure"),
    [
        ({"num_classes": 2}, "train_lst/train.lst, line 3 has the label 2: labels are whole numbers from 0 to 1"),
        ({"use_pretrained_model": 1, "num_layers": 18}, "pretrained weights of resnet18 were requested but not found"),
    ],
)
def test_wrong_data_or_weights_are_a_user_error_and_the_earlier_model_stays(
    values: dict[str, Any], failure: str, tmp_path: Path
) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    jobs.configure(base, values)
    jobs.earlier_model(base)
    done = in_process.run(base)
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {failure}")
    assert len(done.failure) <= 1024
    assert done.texts() == jobs.EARLIER


def test_a_missing_channel_is_a_user_error_that_names_it(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    (base / "input" / "data" / "validation").rename(base / "input" / "data" / "valid")
    jobs.configure(base, {})
    done = in_process.run(base)
    assert done.code == 2
    assert done.failure.startswith(
        "ClientError: channel 'validation' is missing (given: train, train_lst, valid, validation_lst; 'valid': did "
        "you mean validation?): image-classification trains on 'train' and validates on 'validation', "
    )


def test_an_unexpected_error_exits_1_with_a_sentence_followed_by_the_traceback(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    jobs.configure(base, {})
    (base / "input" / "data" / "train_lst" / "classes.txt").mkdir()  # an error that the code does not expect
    done = in_process.run(base)
    assert done.code == 1
    assert re.match(r"IsADirectoryError: .*/classes.txt' \(at pathlib.py, line \d+\)\n\n", done.failure)
    assert "in read_text" in done.failure


@pytest.mark.parametrize("name", ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"])
def test_a_missing_configuration_file_fails_the_job_and_is_named(name: str, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=3, validation=3)
    jobs.configure(base, {})
    (base / "input" / "config" / name).unlink()
    done = jobs.run(base)
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {base}/input/config/{name} is missing")


def test_a_configuration_that_is_not_json_exits_2_without_a_traceback(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=3, validation=3)
    jobs.configure(base, {})
    path = base / "input" / "config" / "hyperparameters.json"
    path.write_text('{"epochs": "1",\n "resize" "36"}')
    done = jobs.run(base)
    assert done.code == 2
    assert done.failure.startswith(
        f"ClientError: {path}, line 2 is not JSON: Expecting ':' delimiter; it must contain one object"
    )
    assert "Traceback" not in done.log


def small_files_only() -> None:
    """Limit files to 200 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_model_that_cannot_be_written_completely_fails_the_job_and_leaves_no_partial_file(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    jobs.configure(base, {"epochs": 1})
    jobs.earlier_model(base)
    done = jobs.run(base, limits=small_files_only)
    assert done.code == 1
    assert "image-classification-0001.params could not be written" in done.failure.split(";")[0]
    assert (sorted(os.listdir(done.model)), done.texts()) == (sorted(jobs.EARLIER), jobs.EARLIER)
    assert any(
        line.startswith("This job wrote no model; restored the model of an earlier job to ") for line in done.lines
    )
