"""Training jobs of semantic-segmentation, run by the real `train` program in the MXNet environment."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import jobs
from tests.framework import bodies_segmentation as bodies
from train.semantic_segmentation import table

Run = Callable[..., Any]
SEGMENTATION = {"VISION_ALGORITHM": "semantic-segmentation"}
NUMBER = r"\d+\.\d+(e-\d+)?"


def job(base: Path, changes: dict[str, Any] | None = None, **how: Any) -> jobs.Done:
    """Lay the configuration out under `base` and run the job."""
    jobs.configure(base, changes or {}, how.pop("mode", "File"), "image/jpeg", jobs.SEGMENTATION)
    return jobs.run(base, environ=SEGMENTATION, **how)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job that several tests look at."""
    base = jobs.masked_channels(tmp_path_factory.mktemp("masked"))
    jobs.earlier_model(base)
    return job(base, {"epochs": 20}, mode="FastFile")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Channels of as few photos as make a batch."""
    return jobs.masked_channels(tmp_path_factory.mktemp("few"), train=8, validation=4)


@pytest.fixture
def again(few: Path, tmp_path: Path) -> Path:
    """A folder of its own with the few photos' channels."""
    base = tmp_path / "ml"
    (base / "input").mkdir(parents=True)
    (base / "input" / "data").symlink_to(few / "input" / "data")
    return base


def test_a_job_learns_what_each_pixel_is_and_ends_with_exit_code_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["metrics"]["validation:mIOU"] >= 0.6
    assert first.description["metrics"]["validation:pixel_accuracy"] >= 0.9


def test_the_log_lines_are_those_of_the_built_in(first: jobs.Done) -> None:
    for pattern in (
        r"Docker entrypoint called with argument\(s\): train",
        r"Final configuration: \{.*'backbone': 'resnet-18'.*\}",
        r"#label_map train :\{'scale': 1\}",
        r"LRScheduler setup: iters per epoch: 6, num_epochs 20",
        rf"#quality_metric\. host: algo-1, epoch: 0, train loss: {NUMBER} \.",
        rf"#throughput_metric\. host: algo-1, epoch: 0, train throughput: {NUMBER} samples/sec\.",
        rf"#quality_metric\. host: algo-1, epoch: 19, validation pixel_accuracy: {NUMBER} \.",
        rf"#quality_metric\. host: algo-1, epoch: 19, validation mIOU: {NUMBER} \.",
        rf"#throughput_metric\. host: algo-1, epoch: 19, validation throughput: {NUMBER} samples/sec\.",
        rf"Serializing model to {re.escape(str(first.model))}/model_best\.params",
        r"#progress_metric: host=algo-1, completed 5 % of epochs",
        r"#progress_metric: host=algo-1, completed 100 % of epochs",
        rf"Serializing model to {re.escape(str(first.model))}/model_algo-1",
    ):
        assert [line for line in first.lines if re.fullmatch(pattern, line)], pattern


def test_a_notice_of_progress_comes_every_twenty_batches_with_the_time_left(in_mxnet: Run) -> None:
    lines = in_mxnet(bodies.speed_lines, 41, 0.5)
    assert lines == [
        "#progress_notice. epoch: 1, iterations: 20 speed: 16.0 samples/sec learning_rate: 0.000099",
        "time left: 0:00:17",
        "#progress_notice. epoch: 1, iterations: 40 speed: 16.0 samples/sec learning_rate: 0.000099",
        "time left: 0:00:20",
    ]


def test_the_summary_tells_both_means_and_each_class_by_name(first: jobs.Done) -> None:
    told = [line for line in first.lines if line.startswith("The best epoch is ")]
    pattern = (
        rf"The best epoch is \d+: mIOU {NUMBER} over 3 classes, {NUMBER} over the 3 that occur, .*nothing {NUMBER}.*"
    )
    assert len(told) == 1
    assert re.fullmatch(pattern, told[0]), told[0]


def test_the_model_folder_holds_the_built_ins_files_and_the_graph(first: jobs.Done) -> None:
    native = {"model_best.params", "model_algo-1", "hyperparams.json"}
    assert {path.name for path in first.model.iterdir()} == native | {"model.json", "model.onnx"}


def test_hyperparams_json_is_what_a_job_takes_and_means_the_same(first: jobs.Done) -> None:
    again = json.loads(json.dumps(table.check(json.loads((first.model / "hyperparams.json").read_text()))))
    assert again == first.description["hyperparameters"]


def test_the_description_says_how_a_photo_becomes_the_input_and_what_the_classes_are_called(first: jobs.Done) -> None:
    description = first.description
    assert description["class_names"] == list(jobs.THINGS)
    assert (description["task"], description["output"]) == ("semantic-segmentation", "logits")
    assert (description["input"]["rule"], description["input"]["height"]) == ("pad", 64)


def test_the_server_gives_a_mask_of_the_photos_size_that_shows_what_is_there(first: jobs.Done, in_serve: Run) -> None:
    data = first.model.parent / "input" / "data"
    found = np.array(in_serve(bodies.served_mask, first.model, str(data / "validation" / "1.jpg")))
    with Image.open(data / "validation_annotation" / "1.png") as image:
        truth = np.asarray(image)
    assert found.shape == truth.shape
    known = truth != 255
    assert (found == truth)[known].mean() > 0.85
    assert (found == 2)[truth == 2].mean() > 0.4, "the photo shows a disc"


@pytest.mark.parametrize(
    ("algorithm", "more", "side"),
    [
        pytest.param("psp", {"validation_mini_batch_size": 3}, 72, id="psp"),
        pytest.param("deeplab", {"validation_mini_batch_size": 3}, 72, id="deeplab"),
        pytest.param("fcn", {"inference_size": 90, "validation_mini_batch_size": 1}, 96, id="inference_size"),
    ],
)
def test_networks_train_on_crops_and_answer_for_whole_photos(
    algorithm: str, more: dict[str, int], side: int, again: Path
) -> None:
    done = job(again, {"algorithm": algorithm, "crop_size": 50, "base_size": 70} | more)
    assert (done.code, done.failure) == (0, "")
    assert done.description["hyperparameters"]["crop_size"] == 56
    assert done.description["input"]["height"] == side


def test_the_schedules_fall_as_their_formulas_say(in_mxnet: Run) -> None:
    poly = in_mxnet(bodies.rates, "poly", {})
    assert poly == [pytest.approx(0.5 * (1 - update / 40) ** 0.9) for update in range(1, 41)]
    cosine = in_mxnet(bodies.rates, "cosine", {})
    assert cosine == [pytest.approx(0.25 * (1 + np.cos(np.pi * update / 40))) for update in range(1, 41)]
    stepped = in_mxnet(bodies.rates, "step", {"lr_scheduler_step": "1,3", "lr_scheduler_factor": 0.5})
    assert stepped == [
        pytest.approx(0.5 if update <= 10 else 0.25 if update <= 30 else 0.125) for update in range(1, 41)
    ]


def test_only_over_a_pretrained_backbone_the_heads_learn_ten_times_as_fast(in_mxnet: Run) -> None:
    assert in_mxnet(bodies.head_rates) == [[1.0], [1.0], [1.0], [10.0]]


@pytest.mark.parametrize("name", ["sgd", "adam", "adagrad", "nag", "rmsprop", "adadelta"])
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, in_mxnet: Run) -> None:
    before, after = in_mxnet(bodies.losses, name)
    assert after < 0.8 * before


def test_pixels_to_ignore_have_no_part_in_the_loss(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.ignored_pixels)
    assert found["all ignored"] == 0
    assert found["another label"] != found["as it was"]


def test_each_network_exports_to_a_graph_that_gives_what_mxnet_gives(in_mxnet: Run, tmp_path: Path) -> None:
    differences = in_mxnet(bodies.export_differences, tmp_path)
    assert len(differences) == 5
    assert all(difference < 1e-4 for difference in differences.values()), differences


def test_one_network_trains_at_one_side_and_answers_at_another(in_mxnet: Run) -> None:
    assert max(in_mxnet(bodies.one_network_at_two_sides)) < 1e-4


def test_fcn_on_resnet_18_adds_fine_maps_to_coarse_ones_of_any_side(in_mxnet: Run) -> None:
    """A cell is its own and, by the convolution that follows, the next; on the finer map each is two, and so on."""
    found = in_mxnet(bodies.reach_of_the_stages)
    assert found["sides"] == [52, 26, 13, 7, 4]
    assert found["logits"] == [1, 3, 52, 52]
    reach = [2]
    for _ in found["sides"][1:-1]:
        reach.append(2 * reach[-1] + 1)
    coarsest = 2  # without a convolution of its own before it is made larger
    for _ in found["sides"][1:-1]:
        coarsest = 2 * (coarsest + 1)
    assert found["rows"] == [*reach, coarsest + 1]


def test_the_networks_are_gluoncvs_own_given_their_weights(in_mxnet: Run) -> None:
    found = in_mxnet(bodies.difference_from_gluoncv)
    assert set(found) == {f"{name}{head}" for name in ("fcn", "psp", "deeplab") for head in ("", " auxiliary")}
    assert max(found.values()) < 1e-4, found


def test_base_weights_of_a_torchvision_file_fill_the_segmenter_and_its_own_layers_stay(in_mxnet: Run) -> None:
    report = in_mxnet(bodies.pretrained_report)
    assert report["loaded"] == 100
    assert report["difference"] == 0
    assert all(name.startswith(("head.", "auxlayer.")) for name in report["fresh"])


def test_sigterm_while_training_exits_0_with_the_best_model_exported_and_checked(again: Path) -> None:
    done = job(again, {"epochs": 500}, until="#progress_metric", number=signal.SIGTERM)
    assert (done.code, done.failure) == (0, "")
    assert any("Asked to stop (SIGTERM received): finishing the current batch" in line for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert (done.model / "model.onnx").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"back_bone": "resnet-50", "backbone": None},
            "hyperparameter 'back_bone' is not known: did you mean backbone?",
        ),
        ({"crop_size": 16}, "hyperparameter crop_size='16' is not valid: it takes a whole number from 17 to"),
        ({"lr_scheduler": "step"}, "hyperparameter lr_scheduler_step is required with lr_scheduler=step"),
        ({"use_pretrained_model": "True"}, "pretrained weights of resnet18 were asked for and none were found"),
        ({"num_classes": 2}, "train_annotation"),
        ({"mini_batch_size": 9}, "The number of input images must be bigger or equal to the mini_batch_size: 8"),
    ],
)
def test_a_mistake_of_the_user_exits_2_with_the_sentence_first(
    changes: dict[str, Any], sentence: str, again: Path
) -> None:
    jobs.earlier_model(again)
    done = job(again, changes)
    assert done.code == 2
    assert done.failure.startswith("ClientError: ")
    assert done.left() == jobs.EARLIER
    assert sentence in done.failure.split(":", 1)[1][: len(sentence) + 30]


def test_a_loss_that_is_not_finite_ends_the_job_with_epoch_batch_and_rate_and_keeps_the_best(
    again: Path, in_mxnet: Run
) -> None:
    message = in_mxnet(bodies.run_to_a_loss_that_is_not_finite, again, jobs.SEGMENTATION)
    where = r"the (loss|answers) became (nan|inf) at epoch [1-3], .+, with learning_rate=\S+: lower"
    assert re.fullmatch(where + r" .*; epoch \d, the best before, is kept", message), message
    assert (again / "model" / "model.onnx").exists()
