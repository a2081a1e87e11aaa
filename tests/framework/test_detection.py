"""Training jobs of object-detection, run by the real `train` program in the MXNet environment."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import jobs
from tests.framework import bodies_detection as bodies
from train.object_detection import table
from train.object_detection.boxes import overlaps

Run = Callable[..., Any]
DETECTION = {"VISION_ALGORITHM": "object-detection"}


def job(base: Path, changes: dict[str, Any] | None = None, **how: Any) -> jobs.Done:
    """Lay the configuration out under `base` and run the job."""
    content_type = how.pop("content_type", "image/jpeg")
    mode = how.pop("mode", "File")
    jobs.configure(base, changes or {}, mode, content_type, jobs.DETECTION)
    return jobs.run(base, environ=DETECTION, **how)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job in image form that several tests look at."""
    base = jobs.boxed_channels(tmp_path_factory.mktemp("boxed"), train=64, validation=16)
    jobs.earlier_model(base)
    return job(base, {"epochs": 24, "num_training_samples": 64, "lr_scheduler_step": "18"}, mode="FastFile")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Channels of as few photos as make a batch."""
    return jobs.boxed_channels(tmp_path_factory.mktemp("few"), train=8, validation=4)


def test_a_job_learns_where_things_are_and_ends_with_exit_code_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["metrics"]["validation:mAP"] >= 0.5


def test_the_log_lines_are_those_of_the_built_in(first: jobs.Done) -> None:
    number = r"\d+\.\d+(e-\d+)?"
    for pattern in (
        r"Docker entrypoint called with argument\(s\): train",
        r"Final configuration: \{.*'base_network': 'resnet-18'.*\}",
        rf"#quality_metric: host=algo-1, epoch=0, batch=8 train cross_entropy <loss>=\({number}\)",
        rf"#quality_metric: host=algo-1, epoch=23, batch=8 train smooth_l1 <loss>=\({number}\)",
        r"Round of batches complete",
        r"Updated the metrics",
        rf"#quality_metric: host=algo-1, epoch=23, validation mAP <score>=\({number}\)",
        rf"Updating the best model with validation-mAP={number}",
        rf'Saved checkpoint to "{re.escape(str(first.model))}/model_algo_1-0000\.params"',
        r"#progress_metric: host=algo-1, completed 4 % of epochs",
        r"#progress_metric: host=algo-1, completed 100 % of epochs",
        rf"#throughput_metric: host=algo-1, train throughput={number} records/second",
        r"Test data is not provided\.",
    ):
        assert [line for line in first.lines if re.fullmatch(pattern, line)], pattern


def test_a_speed_line_comes_every_hundred_batches_with_the_time_left(in_mxnet: Run) -> None:
    pattern = (
        r"Epoch:    1, batches:    100, num_examples:    800, \d+\.\d samples/sec, "
        r"epoch time so far:  \d:\d\d:\d\d(\.\d+)?"
    )
    lines = in_mxnet(bodies.speed_lines, 201, 0.01)
    assert len(lines) == 4
    assert re.fullmatch(pattern, lines[0]), lines[0]
    assert re.fullmatch(r"time left: \d+:\d\d:\d\d", lines[1]), lines[1]


def test_a_speed_line_comes_after_twenty_seconds_without_one(in_mxnet: Run) -> None:
    said = "Epoch:    1, batches:      {}, num_examples:     {}, 0.5 samples/sec, epoch time so far:  {}"
    assert in_mxnet(bodies.speed_lines, 4, 15) == [
        said.format(2, 16, "0:00:30"),
        "time left: 0:00:50",
        said.format(4, 32, "0:01:00"),
        "time left: 0:01:00",
    ]


def test_the_model_folder_holds_the_built_ins_files_and_the_graph(first: jobs.Done) -> None:
    native = {"model_algo_1-0000.params", "model_algo_1-symbol.json", "hyperparams.json"}
    assert {path.name for path in first.model.iterdir()} == native | {"model.json", "model.onnx"}


def test_hyperparams_json_is_what_a_job_takes_and_means_the_same(first: jobs.Done) -> None:
    texts = json.loads((first.model / "hyperparams.json").read_text())
    assert (texts["base_network"], texts["lr_scheduler_step"]) == ("resnet-18", "18")
    assert "freeze_layer_pattern" not in texts
    again = json.loads(json.dumps(table.check(texts)))
    assert again == first.description["hyperparameters"]


def test_the_description_holds_class_names_suppression_and_both_precisions(first: jobs.Done) -> None:
    description = first.description
    assert description["class_names"] == ["square", "disc"]
    assert description["nms"] == {"threshold": 0.45, "top_k": 400, "score_floor": 0.01}
    assert {"epoch", "validation:mAP", "validation:mAP_area", "train:smooth_l1"} <= description["metrics"].keys()
    assert (description["input"]["rule"], description["input"]["height"]) == ("stretch", 64)


def test_the_native_files_load_into_mxnets_module_and_detect_what_the_server_detects(
    first: jobs.Done, in_mxnet: Run, in_serve: Run
) -> None:
    photo = str(first.model.parent / "input" / "data" / "validation" / "1.jpg")
    native = in_mxnet(bodies.module_detections, first.model, photo)
    served = in_serve(bodies.served_detections, first.model, photo)
    assert len(native) == len(served)
    assert native == [pytest.approx(row, abs=1e-4) for row in served]
    # What the surest one is differs from processor to processor: over all photos the mean average
    # precision tells. Where it is does not: on the disc, by PASCAL VOC's measure.
    _, _, *box = served[0]
    disc = np.array([[32 / 72, 4 / 60, 57 / 72, 29 / 60]])
    assert overlaps(np.array([box]), disc)[0, 0] > 0.5, box


def test_recordio_trains_like_images(first: jobs.Done, tmp_path: Path) -> None:
    base = jobs.boxed_records(tmp_path, first.model.parent)
    done = job(base, {"epochs": 1}, content_type="application/x-recordio")
    assert (done.code, done.failure) == (0, "")
    assert done.description["class_names"] == ["0", "1"]
    assert any("Channel train: 64 samples in RecordIO form" in line for line in done.lines)


def test_frozen_layers_stay_as_they_were_and_the_others_move(in_mxnet: Run) -> None:
    moved = in_mxnet(bodies.moved_layers, "^(conv0|stage1_unit1_conv1)_")
    assert not moved["conv0_weight"]
    assert not moved["stage1_unit1_conv1_weight"]
    assert moved["stage1_unit1_conv2_weight"]
    assert moved["predictor1_classes_weight"]


def test_a_pattern_that_freezes_nothing_is_the_users_mistake_and_names_layers(few: Path) -> None:
    done = job(few, {"freeze_layer_pattern": "^layer1_.*", "epochs": 1})
    assert done.code == 2
    assert done.failure.startswith("ClientError: hyperparameter freeze_layer_pattern='^layer1_.*' matches no layer")
    assert "stage1_unit1_" in done.failure


def test_a_pattern_that_freezes_everything_is_the_users_mistake(in_mxnet: Run) -> None:
    assert "nothing is left to train" in in_mxnet(bodies.freeze_message, ".*")


def test_photos_without_boxes_are_learnt_from_as_background(in_mxnet: Run) -> None:
    with_box, without = in_mxnet(bodies.losses_with_and_without_a_box)
    assert without > 0
    assert with_box > without


def test_a_learning_rate_that_diverges_ends_a_job_with_exit_code_2_and_the_rate_in_the_failure(few: Path) -> None:
    changes = {"base_network": "vgg-16", "optimizer": "sgd", "learning_rate": 1, "momentum": 0.99, "epochs": 4}
    done = job(few, {**changes, "num_training_samples": 8})
    assert done.code == 2
    assert re.match(
        r"ClientError: the (loss|answers) became (nan|inf) at epoch \d, .* with learning_rate=1:", done.failure
    )
    assert not (done.model / "model.onnx").exists() or "is kept" in done.failure


@pytest.mark.parametrize(
    ("base_network", "names"),
    [
        ("vgg-16", {"conv1_1_weight", "conv5_3_bias", "fc6_weight", "fc7_weight", "relu4_3_scale"}),
        ("resnet-50", {"conv0_weight", "bn0_gamma", "stage1_unit1_sc_weight", "stage4_unit3_conv3_weight"}),
        ("resnet-18", {"stage1_unit1_conv1_weight", "stage2_unit1_sc_bn_gamma", "extra4_conv2_weight"}),
    ],
)
def test_layers_go_by_the_names_of_the_public_symbol_files_and_each_has_its_own(
    base_network: str, names: set[str], in_mxnet: Run
) -> None:
    found = in_mxnet(bodies.layer_names, base_network)
    assert names <= set(found)
    assert len(found) == len(set(found))


def test_sigterm_while_training_exits_0_with_the_best_model_exported_and_checked(few: Path) -> None:
    done = job(few, {"epochs": 500}, until="#progress_metric", number=signal.SIGTERM)
    assert (done.code, done.failure) == (0, "")
    assert any("Asked to stop (SIGTERM received): finishing the current batch" in line for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert (done.model / "model.onnx").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"base_net": "vgg-16", "base_network": None},
            "hyperparameter 'base_net' is not known: did you mean base_network?",
        ),
        ({"image_shape": 20}, "hyperparameter image_shape='20' is not valid: it takes a whole number from 64 to 1024"),
        ({"nms_threshold": 0}, "hyperparameter nms_threshold=0 would match boxes that do not touch"),
        ({"freeze_layer_pattern": "("}, "hyperparameter freeze_layer_pattern='(' is not valid: it takes a regular"),
        ({"use_pretrained_model": 1}, "pretrained weights of resnet18 were asked for and none were found"),
    ],
)
def test_a_mistake_of_the_user_exits_2_with_the_sentence_first(
    changes: dict[str, Any], sentence: str, few: Path, tmp_path: Path
) -> None:
    base = tmp_path / "ml"
    base.mkdir()
    (base / "input").mkdir()
    (base / "input" / "data").symlink_to(few / "input" / "data")
    jobs.earlier_model(base)
    done = job(base, changes)
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {sentence}")
    assert done.left() == jobs.EARLIER


def test_pictures_smaller_than_the_built_ins_are_warned_of(first: jobs.Done) -> None:
    assert any("image_shape=64 is smaller than the built-in's least, 300" in line for line in first.lines)


def test_a_loss_that_is_not_finite_ends_the_job_with_epoch_batch_and_rate_and_keeps_the_best(
    few: Path, tmp_path: Path, in_mxnet: Run
) -> None:
    base = tmp_path / "ml"
    (base / "input").mkdir(parents=True)
    (base / "input" / "data").symlink_to(few / "input" / "data")
    message = in_mxnet(bodies.run_to_a_loss_that_is_not_finite, base, jobs.DETECTION)
    where = r"the (loss|answers) became (nan|inf) at epoch [1-3], .+, with learning_rate=\S+: lower"
    assert re.fullmatch(where + r" .*; epoch \d, the best before, is kept", message), message
    assert (base / "model" / "model.onnx").exists()


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "adadelta"])
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, in_mxnet: Run) -> None:
    before, after = in_mxnet(bodies.losses, name)
    assert after < 0.8 * before


def test_each_network_exports_to_a_graph_that_gives_what_mxnet_gives(in_mxnet: Run, tmp_path: Path) -> None:
    differences = in_mxnet(bodies.export_differences, tmp_path)
    assert differences.keys() == {"resnet-18", "resnet-50", "vgg-16"}
    assert all(difference < 1e-3 for difference in differences.values()), differences


def test_the_first_kernel_of_a_vgg_learns_no_faster_than_the_second(in_mxnet: Run) -> None:
    first, second = in_mxnet(bodies.movement_of_the_first_kernels)
    assert 0 < first < 10 * second


def test_anchors_are_as_many_as_the_paper_counts(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.anchor_counts) == {"vgg-16 300": 8732, "vgg-16 512": 24564}


def test_the_vgg_detector_is_gluoncvs_own_given_its_weights(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.difference_from_gluoncv)
    assert found["anchors"] < 1e-6
    assert found["logits"] < 1e-4
    assert found["boxes"] < 1e-4


def test_a_picture_of_any_side_has_an_anchor_for_each_prediction(in_mxnet: Run) -> None:
    for name, (predictions, anchors) in in_mxnet(bodies.predictions_and_anchors).items():
        assert predictions == anchors, name


def test_what_targets_encode_the_network_decodes(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.decoding_error) < 1e-5


def test_precision_of_hand_worked_cases(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.precisions)
    assert found["every box found"] == [pytest.approx(1.0), pytest.approx(1.0)]
    assert found["no detections"] == [0.0, 0.0]
    # Two boxes of one class, one found, then a second detection of the same box: precision 1 up to recall 0.5.
    assert found["a duplicate"] == [pytest.approx(6 / 11), pytest.approx(0.5)]
    # The wrong detection is the surer one: precision 1/2 at recall 1.
    assert found["a surer mistake"] == [pytest.approx(0.5), pytest.approx(0.5)]
    # A class without a true box has no part in the mean, even where something of it is detected.
    assert found["a class without boxes"] == [pytest.approx(1.0), pytest.approx(1.0)]
    assert found["overlap just below and just above the threshold"] == [0.0, pytest.approx(1.0)]


def test_suppression_while_training_is_the_servers(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.suppression_difference) < 1e-6


def test_base_weights_of_a_torchvision_file_fill_the_detector_and_its_own_layers_stay(in_mxnet: Run) -> None:
    report = in_mxnet(bodies.pretrained_report)
    assert report["loaded"] == 100
    assert report["difference"] == 0
    assert all(name.startswith("extras.") for name in report["fresh"])
