"""Whole jobs of object-detection: logs, model folder, and user errors."""

import json
import re
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from serve import artifact, preprocess
from tests import jobs
from tests.mxnet import in_process, served
from train.object_detection import hyperparameters
from train.object_detection.boxes import overlaps

EPOCHS = 6
NUMBER = r"\d+\.\d+(e-\d+)?"


# ---- one job for several tests ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job in image format, in the folder of an earlier job, run by the real program."""
    base = jobs.boxed_channels(tmp_path_factory.mktemp("first"), validation=24)
    jobs.configure(base, {"epochs": EPOCHS, "lr_scheduler_step": "5"}, "FastFile", "image/jpeg", jobs.DETECTION)
    jobs.earlier_model(base)
    return jobs.run(base, environ={"VISION_ALGORITHM": "object-detection"})


def test_a_job_learns_to_detect_objects_and_exits_with_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["metrics"]["validation:mAP"] >= 0.5


def test_the_log_lines_match_the_built_in_algorithm(first: jobs.Done) -> None:
    patterns = [
        r"Docker entrypoint called with argument\(s\): train",
        r"Final configuration: \{.*'base_network': 'resnet-18'.*\}",
        rf"#quality_metric: host=algo-1, epoch=0, batch=6 train cross_entropy <loss>=\({NUMBER}\)",
        rf"#quality_metric: host=algo-1, epoch={EPOCHS - 1}, batch=6 train smooth_l1 <loss>=\({NUMBER}\)",
        r"Round of batches complete",
        r"Updated the metrics",
        rf"#quality_metric: host=algo-1, epoch={EPOCHS - 1}, validation mAP <score>=\({NUMBER}\)",
        rf"Updating the best model with validation-mAP={NUMBER}",
        rf'Saved checkpoint to "{re.escape(str(first.model))}/model_algo_1-0000\.params"',
        rf"#progress_metric: host=algo-1, completed {100 // EPOCHS} % of epochs",
        r"#progress_metric: host=algo-1, completed 100 % of epochs",
        rf"#throughput_metric: host=algo-1, train throughput={NUMBER} records/second",
        r"Test data is not provided\.",
    ]
    assert [text for text in patterns if not any(re.fullmatch(text, line) for line in first.lines)] == []


def test_an_image_shape_below_the_built_ins_minimum_gives_a_warning(first: jobs.Done) -> None:
    assert any("image_shape=64 is below the built-in's minimum, 300" in line for line in first.lines)


def test_the_model_folder_holds_the_built_ins_files_and_the_graph(first: jobs.Done) -> None:
    native = {"model_algo_1-0000.params", "model_algo_1-symbol.json", "hyperparams.json"}
    assert {path.name for path in first.model.iterdir()} == native | {"model.json", "model.onnx"}


def test_hyperparams_json_gives_the_same_hyperparameters_when_read_back(first: jobs.Done) -> None:
    texts = json.loads((first.model / "hyperparams.json").read_text())
    assert (texts["base_network"], texts["lr_scheduler_step"]) == ("resnet-18", "5")
    assert "freeze_layer_pattern" not in texts
    assert json.loads(json.dumps(hyperparameters.check(texts).values())) == first.description["hyperparameters"]


def test_the_description_holds_class_names_suppression_and_both_metrics(first: jobs.Done) -> None:
    description = first.description
    assert description["class_names"] == ["square", "disc"]
    assert description["nms"] == {"threshold": 0.45, "top_k": 400, "score_floor": 0.01}
    assert {"epoch", "validation:mAP", "validation:mAP_area", "train:smooth_l1"} <= description["metrics"].keys()
    assert (description["input"]["rule"], description["input"]["height"]) == ("stretch", 64)


@pytest.fixture(scope="module")
def photos(first: jobs.Done) -> list[Path]:
    """The validation photos."""
    return sorted((first.model.parent / "input" / "data" / "validation").iterdir())


@pytest.fixture(scope="module")
def detections(first: jobs.Done, photos: list[Path]) -> list[np.ndarray]:
    """The detections of the server's code on each validation photo, (d, 6)."""
    return served.predict(first.model, photos)


def test_the_native_files_load_into_mxnets_module_and_match_the_servers_detections(
    first: jobs.Done, photos: list[Path], detections: list[np.ndarray]
) -> None:
    spec = artifact.read(first.model).input
    tensors = np.stack([preprocess.load(photo.read_bytes(), spec) for photo in photos])
    symbol, arguments, auxiliary = mx.model.load_checkpoint(f"{first.model}/model_algo_1", 0)
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
    module.bind([("data", tensors.shape)], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([mx.nd.array(tensors)]), is_train=False)
    for output, expected in zip(module.get_outputs()[0].asnumpy(), detections, strict=True):
        rows = output[output[:, 1] > 0]
        rows[:, 2:] = rows[:, 2:].clip(0, 1)
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-4)


def test_the_best_detection_is_right_on_most_photos(photos: list[Path], detections: list[np.ndarray]) -> None:
    # Which photos are wrong depends on the processor.
    overlap = []
    for photo, rows in zip(photos, detections, strict=True):
        note = photo.parent.with_name("validation_annotation") / f"{photo.stem}.json"
        box = json.loads(note.read_text())["annotations"][0]
        corners = [box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"]]
        overlap.append(overlaps(rows[:1, 2:], np.array([corners]) / [72, 60, 72, 60]).max(initial=0))
    assert np.median(overlap) > 0.5  # PASCAL VOC's threshold


# ---- other inputs and user errors -------------------------------------------------------------------------------


def test_recordio_trains_like_images(tmp_path: Path) -> None:
    source = jobs.boxed_channels(tmp_path / "source", train=8, validation=4)
    base = jobs.boxed_records(tmp_path / "records", source)
    jobs.configure(base, {"epochs": 1}, content_type="application/x-recordio", defaults=jobs.DETECTION)
    done = in_process.run(base, "object-detection")
    assert (done.code, done.failure) == (0, "")
    assert done.description["class_names"] == ["0", "1"]
    assert "Channel train: 8 samples in RecordIO form" in done.lines


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"base_net": "vgg-16", "base_network": None},
            "hyperparameter 'base_net' is unknown: did you mean base_network?",
        ),
        ({"image_shape": 20}, "hyperparameter image_shape='20' is not valid: expected a whole number from 64 to 1024"),
        ({"nms_threshold": 0}, "hyperparameter nms_threshold=0 would match boxes that do not touch"),
        ({"freeze_layer_pattern": "("}, "hyperparameter freeze_layer_pattern='(' is not valid: expected a regular"),
        (
            {"freeze_layer_pattern": "^layer1_.*"},
            "hyperparameter freeze_layer_pattern='^layer1_.*' matches no layer of resnet-18",
        ),
        ({"use_pretrained_model": 1}, "pretrained weights of resnet18 were requested but not found"),
    ],
)
def test_a_user_error_exits_2_with_the_reason_first_and_the_earlier_model_stays(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    base = jobs.boxed_channels(tmp_path, train=8, validation=4)
    jobs.configure(base, changes, defaults=jobs.DETECTION)
    jobs.earlier_model(base)
    done = in_process.run(base, "object-detection")
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {sentence}")
    assert done.texts() == jobs.EARLIER
