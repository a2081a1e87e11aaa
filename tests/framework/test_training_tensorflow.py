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


def test_a_job_on_the_seeds_layout_ends_with_exit_code_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["class_names"] == ["across", "down", "squares"]
    assert first.description["network"] == "mobilenetv2_0.35"


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


def test_a_truncated_photo_is_named_and_left_out(first: jobs.Done) -> None:
    name = "training/train/across/0.jpg: not a readable image file, left out: it is truncated"
    assert any(line.startswith(name) for line in first.lines)


def test_the_model_folder_holds_the_graph_its_description_and_a_keras_file(first: jobs.Done) -> None:
    assert {path.name for path in first.model.iterdir()} == {"model.onnx", "model.json", "model.keras"}


def test_a_jobs_keras_file_is_pretrained_weights_for_another_number_of_classes_and_frozen_features_are_kept(
    first: jobs.Done, tmp_path: Path
) -> None:
    base = class_folders(tmp_path)
    for part in ("train", "validation"):
        shutil.rmtree(base / "input" / "data" / "training" / part / "squares")
    shutil.copytree(first.model, base / "input" / "data" / "pretrained")
    still = {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0}
    jobs.configure(base, {**SMALL, "use_pretrained_model": 1, "epochs": 40, **still}, defaults={})
    done = run(base)
    assert (done.code, done.failure) == (0, "")
    assert any(
        re.fullmatch(r"Pretrained weights: 260 arrays of mobilenetv2_0\.35 from \S+/model\.keras; .*", line)
        for line in done.lines
    )
    seconds = [float(line.rpartition("=")[2]) for line in done.lines if "Time cost" in line]
    assert sorted(seconds)[20] < 0.5, "an epoch above frozen layers computes no features"


def test_a_stop_keeps_the_best_model_exported_and_checked_on_lst_channels(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, 32, 6)
    jobs.configure(base, {**SMALL, "epochs": 500, "num_classes": 3, "num_training_samples": 40}, defaults={})
    done = run(base, until="Epoch[1] Validation-accuracy")
    assert (done.code, done.failure) == (0, "")
    assert any(line.startswith("num_training_samples=40, but there are 32") for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert done.description["class_names"] == ["across", "down", "squares"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epoch": 3}, "ClientError: hyperparameter 'epoch' is not known: remove it; valid and not set are "),
        ({"use_pretrained_model": 1}, "ClientError: pretrained weights of mobilenetv2_0.35 were asked for and none"),
    ],
)
def test_a_mistake_of_the_user_exits_2_with_a_client_error_first_in_the_failure_file(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    base = class_folders(tmp_path, 9, 3)
    jobs.configure(base, SMALL | values, defaults={})
    jobs.earlier_model(base)
    done = run(base)
    assert (done.code, done.failure[: len(said)]) == (2, said)
    assert done.left() == jobs.EARLIER
    assert "Traceback" not in done.log


def test_a_loss_that_is_not_finite_ends_the_job_and_keeps_the_best_model(in_tensorflow: Run, tmp_path: Path) -> None:
    base = class_folders(tmp_path, 32, 6)
    said = in_tensorflow(bodies_tensorflow.divergence, base)
    where = r"the (loss|answers) became (nan|inf) at epoch [12], .+, with learning_rate=1e\+27: lower"
    assert re.fullmatch(where + " .*; epoch 0, the best before, is kept", said), said
    assert {path.name for path in (base / "model").iterdir()} == {"model.onnx", "model.json", "model.keras"}


def test_only_the_best_epoch_is_kept(in_tensorflow: Run, tmp_path: Path) -> None:
    assert in_tensorflow(bodies_tensorflow.saved, tmp_path) == [[], ["model.keras"]]


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


def test_two_hosts_train_a_head_exactly_as_one_does_and_the_first_alone_writes_the_model(
    first: jobs.Done, tmp_path: Path
) -> None:
    still = {"horizontal_flip": 0, "zoom_range": 0, "rotation_range": 0, "dropout": 0}
    folders = [class_folders(tmp_path / name) for name in ("one", "two", "three")]
    for base in folders:
        shutil.copytree(first.model, base / "input" / "data" / "pretrained")
        jobs.configure(base, {**SMALL, "use_pretrained_model": 1, "epochs": 8, **still}, defaults={})
    alone = run(folders[0])
    both = run_on_two_hosts(folders[1:])
    assert [done.code for done in (alone, *both)] == [0, 0, 0]
    assert len(validated(alone)) == 8
    assert validated(both[0]) == validated(both[1]) == validated(alone)
    assert {path.name for path in both[0].model.iterdir()} == {"model.onnx", "model.json", "model.keras"}
    assert list(both[1].model.iterdir()) == []


def test_two_hosts_that_train_all_layers_agree_and_a_stop_of_both_keeps_the_best_model(tmp_path: Path) -> None:
    folders = [class_folders(tmp_path / name) for name in ("one", "two")]
    for base in folders:
        jobs.configure(base, {**SMALL, "epochs": 500}, defaults={})
    both = run_on_two_hosts(folders, until="Epoch[2] Validation-accuracy", number=signal.SIGTERM)
    assert [(done.code, done.failure) for done in both] == [(0, "")] * 2
    assert validated(both[0])[:3] == validated(both[1])[:3]
    assert any(line.startswith("Check of model.onnx") for line in both[0].lines)
    assert (both[0].model / "model.json").exists()


def test_hosts_that_see_different_photos_are_told_so(tmp_path: Path) -> None:
    folders = [class_folders(tmp_path / name) for name in ("one", "two")]
    (folders[1] / "input" / "data" / "training" / "train" / "across" / "0.jpg").unlink()
    for base in folders:
        jobs.configure(base, SMALL, defaults={})
    for done in run_on_two_hosts(folders):
        assert done.code == 2
        assert done.failure.startswith("ClientError: the hosts have different training images, this one ")


# ---- parts ------------------------------------------------------------------------------------------------------


def test_a_cut_network_answers_as_the_whole_and_trains_from_the_block_that_was_asked_for(in_tensorflow: Run) -> None:
    found = in_tensorflow(bodies_tensorflow.cuts)
    assert max(difference for _, _, difference in found.values()) < 1e-4  # fused layers round otherwise
    assert {layers: [count, kernel] for layers, (count, kernel, _) in found.items()} == {
        "head": [2, None],
        "1": [5, "Conv_1"],
        "2": [14, "block_16_expand"],
        "3": [23, "block_15_expand"],
        "18": [155, "expanded_conv_project"],
        "all": [158, "Conv1"],
    }


def test_two_classes_have_one_sigmoid_expanded_to_both_probabilities(in_tensorflow: Run) -> None:
    first, second, sigmoid = in_tensorflow(bodies_tensorflow.two_classes)
    assert second == pytest.approx(sigmoid, abs=1e-6)
    assert first == pytest.approx([1 - p for p in sigmoid], abs=1e-6)
    assert max(sigmoid) - min(sigmoid) > 1e-3


def test_the_exported_graph_takes_planes_of_pixels_and_agrees_with_keras(
    in_tensorflow: Run, in_serve: Run, tmp_path: Path
) -> None:
    made = in_tensorflow(bodies_tensorflow.exported, tmp_path)
    assert set(map(tuple, made.values())) == {("model.onnx", "run.npz")}
    found = in_serve(bodies_tensorflow.onnx_answers, tmp_path)
    assert max(difference for _, difference in found.values()) < 1e-5
    assert found["grey"][0] == [
        ["data", ["N", 1, 32, 48], "tensor(float)"],
        ["probabilities", ["N", 3], "tensor(float)"],
    ]
    assert found["two"][0][1] == ["probabilities", ["N", 2], "tensor(float)"]


def test_augmentation_flips_zooms_and_rotates_about_the_centre_as_far_as_it_says(in_tensorflow: Run) -> None:
    assert in_tensorflow(bodies_tensorflow.augmentations) == "as named"


def test_an_epoch_is_a_new_order_of_all_photos_and_the_same_for_the_same_seed(in_tensorflow: Run) -> None:
    found = in_tensorflow(bodies_tensorflow.batches)
    first, again, second = found["orders"]
    assert first == again != second
    assert sorted(first[:10]) == sorted(second[:10]) == list(range(10))
    assert first[10:] == first[:2]  # the last batch is filled up from the epoch's beginning
    assert found["labels"] == [index % 3 for index in first]
    assert found["kinds"] == ["uint8", [4, 32, 32, 3], "int64"]
    assert found["length"] == 3


@pytest.fixture(scope="module")
def vanished(in_tensorflow: Run) -> tuple[str, int]:
    """What an epoch says whose photos cannot be read any more, and how many iterators outlive it."""
    said, iterators = in_tensorflow(bodies_tensorflow.vanished)
    return said, iterators


def test_a_photo_that_vanishes_while_the_job_trains_is_told_in_our_words(vanished: tuple[str, int]) -> None:
    said, _ = vanished
    assert re.fullmatch(r"train image \d\.jpg does not exist, though it could be read when the job began", said)


def test_a_failed_epoch_leaves_no_iterator_for_which_the_end_of_the_process_would_wait_forever(
    vanished: tuple[str, int],
) -> None:
    _, iterators = vanished
    assert iterators == 0


@pytest.mark.parametrize("name", ["sgd", "nag", "adam", "rmsprop"])
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, in_tensorflow: Run) -> None:
    before, after = in_tensorflow(bodies_tensorflow.losses, name)
    assert after < 0.5 * before


def test_hyperparameters_reach_the_optimizer(in_tensorflow: Run) -> None:
    assert in_tensorflow(bodies_tensorflow.optimizers) == {
        "sgd": [0.7, False],
        "nag": [0.7, True],
        "adam": [0.8, 0.99, 1e-3],
        "rmsprop": [0.6, 1e-3],
    }


def test_the_learning_rate_falls_after_the_epochs_that_were_named(in_tensorflow: Run) -> None:
    rates = in_tensorflow(bodies_tensorflow.learning_rates)
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_weight_decay_touches_kernels_alone(in_tensorflow: Run) -> None:
    found = in_tensorflow(bodies_tensorflow.decayed)
    assert found["kernel"] == pytest.approx(0.9)
    assert found["bias"] < 1e-6


def test_class_weights_are_inverse_to_the_shares_of_the_classes(in_tensorflow: Run) -> None:
    unbalanced, balanced, missing = in_tensorflow(bodies_tensorflow.weights_of_classes)
    assert unbalanced == pytest.approx([8 / 12, 2])
    assert balanced == [1, 1, 1]
    assert missing == [1, 1, 1]


@pytest.mark.parametrize(("augmented", "reads"), [(False, [10, 10]), (True, [20, 10])])
def test_above_frozen_layers_photos_that_do_not_change_are_read_once(
    augmented: bool, reads: list[int], in_tensorflow: Run
) -> None:
    assert in_tensorflow(bodies_tensorflow.features_once, augmented) == reads


def test_weights_load_from_every_form_of_keras_file_whatever_stands_above_them(
    in_tensorflow: Run, tmp_path: Path
) -> None:
    found = in_tensorflow(bodies_tensorflow.weight_files, tmp_path)
    names = ("job.keras", "no_top.weights.h5", "nested.weights.h5", "keras2_no_top.h5", "keras2_model.h5")
    assert found == {name: [0.0, 260] for name in names}


def test_a_network_of_one_channel_takes_the_weights_of_three(in_tensorflow: Run, tmp_path: Path) -> None:
    assert in_tensorflow(bodies_tensorflow.grey_first_kernel, tmp_path) < 1e-4


def test_a_file_that_is_not_the_networks_weights_is_refused_with_what_is_wrong(
    in_tensorflow: Run, tmp_path: Path
) -> None:
    said = in_tensorflow(bodies_tensorflow.refused_weights, tmp_path)
    for file, words in {
        "another alpha": " is not mobilenetv2_0.35: ",
        "another network": " is not mobilenetv2_0.35 as Keras names its layers: it lacks Conv1, bn_Conv1, ",
        "cut zip": " is damaged or incomplete (",
        "cut h5": " is damaged or incomplete (",
        "not finite": " has values in bn_Conv1/moving_variance that are not finite",
        "no weights": " is neither a Keras .h5 nor a .keras file (it starts with b'hello, w'): give one of these",
    }.items():
        assert said[file].startswith(words), said[file]
