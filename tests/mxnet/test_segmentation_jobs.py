"""Whole jobs of semantic-segmentation: logs, model folder, and user errors."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import jobs
from tests.mxnet import in_process, served
from train.semantic_segmentation import hyperparameters

EPOCHS = 4
NUMBER = r"\d+\.\d+(e-\d+)?"


# ---- one job for several tests ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job in the folder of an earlier job, run by the real program."""
    base = jobs.masked_channels(tmp_path_factory.mktemp("first"))
    jobs.configure(base, {"epochs": EPOCHS}, "FastFile", "image/jpeg", jobs.SEGMENTATION)
    jobs.earlier_model(base)
    return jobs.run(base, environ={"VISION_ALGORITHM": "semantic-segmentation"})


def test_a_job_learns_to_segment_and_exits_with_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["metrics"]["validation:mIOU"] >= 0.6
    assert first.description["metrics"]["validation:pixel_accuracy"] >= 0.9


def test_the_log_lines_match_the_built_in_algorithm(first: jobs.Done) -> None:
    patterns = [
        r"Docker entrypoint called with argument\(s\): train",
        r"Final configuration: \{.*'backbone': 'resnet-18'.*\}",
        r"#label_map train :\{'scale': 1\}",
        rf"LRScheduler setup: iters per epoch: 6, num_epochs {EPOCHS}",
        rf"#quality_metric\. host: algo-1, epoch: 0, train loss: {NUMBER} \.",
        rf"#throughput_metric\. host: algo-1, epoch: 0, train throughput: {NUMBER} samples/sec\.",
        rf"#quality_metric\. host: algo-1, epoch: {EPOCHS - 1}, validation pixel_accuracy: {NUMBER} \.",
        rf"#quality_metric\. host: algo-1, epoch: {EPOCHS - 1}, validation mIOU: {NUMBER} \.",
        rf"#throughput_metric\. host: algo-1, epoch: {EPOCHS - 1}, validation throughput: {NUMBER} samples/sec\.",
        rf"Serializing model to {re.escape(str(first.model))}/model_best\.params",
        rf"#progress_metric: host=algo-1, completed {100 // EPOCHS} % of epochs",
        r"#progress_metric: host=algo-1, completed 100 % of epochs",
        rf"Serializing model to {re.escape(str(first.model))}/model_algo-1",
    ]
    assert [text for text in patterns if not any(re.fullmatch(text, line) for line in first.lines)] == []


def test_the_summary_gives_both_means_and_each_class(first: jobs.Done) -> None:
    summaries = [line for line in first.lines if line.startswith("The best epoch is ")]
    pattern = (
        rf"The best epoch is \d+: mIOU {NUMBER} over 3 classes, {NUMBER} over the 3 that occur, .*nothing {NUMBER}.*"
    )
    assert len(summaries) == 1
    assert re.fullmatch(pattern, summaries[0])


def test_the_model_folder_holds_the_built_ins_files_and_the_graph(first: jobs.Done) -> None:
    native = {"model_best.params", "model_algo-1", "hyperparams.json"}
    assert {path.name for path in first.model.iterdir()} == native | {"model.json", "model.onnx"}


def test_hyperparams_json_gives_the_same_hyperparameters_when_read_back(first: jobs.Done) -> None:
    again = hyperparameters.check(json.loads((first.model / "hyperparams.json").read_text()))
    assert json.loads(json.dumps(again.values())) == first.description["hyperparameters"]


def test_the_description_holds_preprocessing_and_class_names(first: jobs.Done) -> None:
    description = first.description
    assert description["class_names"] == list(jobs.MASK_CLASSES)
    assert (description["task"], description["output"]) == ("semantic-segmentation", "logits")
    assert (description["input"]["rule"], description["input"]["height"]) == ("pad", 64)


def test_the_server_predicts_a_good_mask_of_the_photos_size(first: jobs.Done) -> None:
    data = first.model.parent / "input" / "data"
    (predicted,) = served.predict(first.model, [data / "validation" / "1.jpg"])
    with Image.open(data / "validation_annotation" / "1.png") as image:
        truth = np.asarray(image)
    assert predicted.shape == truth.shape
    known = truth != 255
    assert (predicted == truth)[known].mean() > 0.85
    assert (predicted == 2)[truth == 2].mean() > 0.4, "the photo shows a disc, class 2"


# ---- other networks, and user errors ----------------------------------------------------------------------------


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Channels with just enough photos for a batch."""
    return jobs.masked_channels(tmp_path, train=8, validation=4)


@pytest.mark.parametrize(
    ("algorithm", "more", "side"),
    [
        pytest.param("psp", {"validation_mini_batch_size": 3}, 72, id="psp"),
        pytest.param("deeplab", {"validation_mini_batch_size": 3}, 72, id="deeplab"),
        pytest.param("fcn", {"inference_size": 90, "validation_mini_batch_size": 1}, 96, id="inference_size"),
    ],
)
def test_networks_train_on_crops_and_serve_whole_photos(
    algorithm: str, more: dict[str, int], side: int, few: Path
) -> None:
    changes = {"algorithm": algorithm, "crop_size": 50, "base_size": 70} | more
    jobs.configure(few, changes, defaults=jobs.SEGMENTATION)
    done = in_process.run(few, "semantic-segmentation")
    assert (done.code, done.failure) == (0, "")
    assert done.description["hyperparameters"]["crop_size"] == 56
    assert done.description["input"]["height"] == side


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"back_bone": "resnet-50", "backbone": None}, "hyperparameter 'back_bone' is unknown: did you mean backbone?"),
        ({"crop_size": 16}, "hyperparameter crop_size='16' is not valid: expected a whole number from 17 to"),
        ({"lr_scheduler": "step"}, "hyperparameter lr_scheduler_step is required with lr_scheduler=step"),
        ({"use_pretrained_model": "True"}, "pretrained weights of resnet18 were requested but not found"),
        ({"num_classes": 2}, "train_annotation"),
        ({"mini_batch_size": 9}, "The number of input images must be bigger or equal to the mini_batch_size: 8"),
    ],
)
def test_a_user_error_exits_2_with_the_reason_first_and_the_earlier_model_stays(
    changes: dict[str, Any], sentence: str, few: Path
) -> None:
    jobs.configure(few, changes, defaults=jobs.SEGMENTATION)
    jobs.earlier_model(few)
    done = in_process.run(few, "semantic-segmentation")
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {sentence}")
    assert done.texts() == jobs.EARLIER
