"""Training jobs of image-classification, run by the real `train` program in the MXNet environment."""

import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.framework import bodies_training
from train import earlier

Run = Callable[..., Any]


def snapshot(folder: Path) -> dict[str, tuple[int, float]]:
    """Every file below `folder` with its size and time of change."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime) for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job in image form that several tests look at."""
    base = jobs.image_channels(tmp_path_factory.mktemp("first"))
    # At the others' rate of 0.05 what so few steps teach differs between processors: 1.0 on one, 0.67 on another.
    changes = {"top_k": 2, "checkpoint_frequency": 3, "epochs": 6, "learning_rate": 0.02}
    jobs.configure(base, changes, "FastFile", "application/x-image")
    before = snapshot(base / "input")
    jobs.earlier_model(base)
    done = jobs.run(base)
    assert snapshot(base / "input") == before, "a channel was written to"
    return done


def test_a_job_learns_and_ends_with_exit_code_0(first: jobs.Done) -> None:
    assert (first.code, first.failure) == (0, "")
    assert first.description["metrics"]["validation:accuracy"] >= 0.9


def test_the_log_lines_are_those_of_the_built_in(first: jobs.Done) -> None:
    number = r"\d+\.\d{6}"
    for pattern in (
        r"Docker entrypoint called with argument\(s\): train",
        r"Final configuration: \{.*'num_layers': 20.*\}",
        rf"Epoch\[0\] Train-accuracy={number}",
        rf"Epoch\[0\] Train-top_k_accuracy_2={number}",
        r"Epoch\[0\] Time cost=\d+\.\d{3}",
        rf"Epoch\[5\] Validation-accuracy={number}",
        rf"Epoch\[5\] Validation-top_k_accuracy_2={number}",
        rf"Storing the best model with validation accuracy: {number}",
        rf'Saved checkpoint to "{re.escape(str(first.model))}/image-classification-0001\.params"',
    ):
        assert [line for line in first.lines if re.fullmatch(pattern, line)], pattern


def test_the_model_folder_holds_the_built_ins_files_the_best_epoch_and_every_nth(first: jobs.Done) -> None:
    best = first.description["metrics"]["epoch"] + 1
    kept = {f"image-classification-{epoch:04d}.params" for epoch in {3, 6, best}}
    others = {"image-classification-symbol.json", "model-shapes.json", "model.json", "model.onnx"}
    assert {path.name for path in first.model.iterdir()} == kept | others


def test_the_last_line_says_how_the_epochs_and_the_files_are_counted(first: jobs.Done) -> None:
    epoch = first.description["metrics"]["epoch"]
    said = [line for line in first.lines if line.startswith(f"The model of epoch {epoch} is in {first.model}: ")]
    assert f"image-classification-{epoch + 1:04d}.params" in said[0]
    assert said[0].endswith(" (epochs count from 0, files from 1)")


def test_class_names_come_from_the_folders_of_the_images(first: jobs.Done) -> None:
    assert first.description["class_names"] == ["across", "down", "squares"]


def test_the_native_files_load_into_mxnets_module_and_give_what_the_onnx_graph_gives(
    first: jobs.Done, in_mxnet: Run, in_serve: Run, tmp_path: Path
) -> None:
    epoch = first.description["metrics"]["epoch"] + 1
    native = in_mxnet(bodies_training.module_outputs, first.model, epoch)
    assert in_serve(bodies_training.onnx_difference, first.model, native) < 1e-5


def test_recordio_trains_like_images_and_its_class_names_come_from_classes_txt(
    first: jobs.Done, tmp_path: Path
) -> None:
    source = first.model.parent
    base = jobs.record_channels(tmp_path, source)
    jobs.configure(base, {"resize": None, "epochs": 1}, content_type="application/x-recordio")
    done = jobs.run(base)
    assert done.code == 0
    assert done.description["class_names"] == ["Across", "Down", "Squares"]
    assert done.description["input"]["resize"] == 48  # the photos' own shorter side


def test_a_model_that_has_learnt_its_pictures_says_so_through_the_servers_code_whatever_their_shape(
    in_mxnet: Run, tmp_path: Path
) -> None:
    folders = []
    for number, (form, width, height, resize) in enumerate(
        (
            ("rec", 32, 32, None),
            ("rec", 56, 32, None),
            ("rec", 32, 56, None),
            ("rec", 56, 32, 32),
            ("lst", 56, 32, 32),
            ("lst", 32, 56, 32),
        )
    ):
        base = jobs.barred_channels(tmp_path / str(number), width, height, form)
        jobs.configure(base, {"image_shape": f"3,{height},{width}", "resize": resize}, defaults=jobs.BARRED)
        folders.append(base)
    # Trained, served, and a shorter side of 32 pixels, which covers each of the crops.
    assert in_mxnet(bodies_training.accuracies, folders) == [[1.0, 1.0, 32]] * len(folders)


def test_one_channel_images_train_to_a_one_channel_artifact(first: jobs.Done, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path)
    jobs.configure(base, {"image_shape": "1,32,32", "augmentation_type": "crop_color_transform", "epochs": 2})
    done = jobs.run(base)
    assert done.code == 0
    assert (done.description["input"]["channels"], done.description["input"]["colour"]) == (1, "L")


def test_several_labels_train_with_sigmoids_and_a_weighted_loss(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path)
    for channel in ("train", "validation"):
        path = base / "input" / "data" / f"{channel}_lst" / f"{channel}.lst"
        hot = {"0": "1\t0\t1", "1": "0\t1\t1", "2": "0\t0\t0"}
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        jobs.write_lst(base, channel, [f"{index}\t{hot[label]}\t{name}" for index, label, name in rows])
    jobs.configure(base, {"multi_label": 1, "use_weighted_loss": 1, "epochs": 4})
    done = jobs.run(base)
    assert (done.code, done.description["output"]) == (0, "sigmoid")
    assert done.description["metrics"]["validation:accuracy"] > 0.8


def test_weighted_loss_without_several_labels_and_other_settings_of_a_gpu_are_told_and_ignored(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    values = {"use_weighted_loss": 1, "precision_dtype": "float16", "kv_store": "dist_sync", "num_training_samples": 40}
    jobs.configure(base, {**values, "epochs": 1})
    done = jobs.run(base)
    assert done.code == 0
    for said in ("use_weighted_loss=1 is ignored", "float16 is computed as float32", "kv_store=dist_sync is not used"):
        assert sum(said in line for line in done.lines) == 1, said
    assert any(line.startswith("num_training_samples=40, but there are 32") for line in done.lines)


def test_early_stopping_ends_after_the_patience_without_gain(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    stopping = {"early_stopping": "True", "early_stopping_min_epochs": 2, "early_stopping_patience": 2}
    jobs.configure(base, {"learning_rate": 0, "epochs": 50, **stopping})
    done = jobs.run(base)
    assert done.code == 0
    assert any(line.startswith("Early stopping after epoch") for line in done.lines)
    assert not any(line.startswith("Epoch[20]") for line in done.lines)


def test_a_loss_that_is_not_finite_ends_the_job_with_epoch_batch_and_rate_and_keeps_the_best_model(
    in_mxnet: Run, tmp_path: Path
) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    said = in_mxnet(bodies_training.run_to_a_loss_that_is_not_finite, base, {**jobs.HYPERPARAMETERS, "epochs": 9})
    where = r"the (loss|answers) became (nan|inf) at epoch [12], .+, with learning_rate=5e\+28: lower"
    assert re.fullmatch(where + " .*; epoch 0, the best before, is kept", said), said
    assert {"model.onnx", "model.json", "image-classification-0001.params"} <= {
        p.name for p in (base / "model").iterdir()
    }


def test_a_truncated_photo_is_not_readable_where_the_networks_library_would_pad_it(in_mxnet: Run) -> None:
    assert in_mxnet(bodies_training.truncated_beside_the_network).startswith("is truncated (")


def test_unreadable_images_are_named_counted_and_left_out(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=40, validation=6)
    train = base / "input" / "data" / "train"
    (train / "across" / "0.jpg").write_bytes((train / "across" / "0.jpg").read_bytes()[:400])
    (train / "down" / "1.jpg").unlink()
    jobs.configure(base, {"epochs": 1, "num_training_samples": 38})
    done = jobs.run(base)
    assert done.code == 0
    assert any(
        re.match(r"across/0\.jpg: not a readable image file, left out: it is truncated", line) for line in done.lines
    )
    assert "down/1.jpg: not a readable image file, left out: it does not exist" in done.lines
    assert "2 of 40 train images cannot be read: left out" in done.lines


def test_a_speed_line_comes_every_twenty_batches_as_the_built_ins(in_mxnet: Run) -> None:
    lines = in_mxnet(bodies_training.speed_lines, 45, 0.01)
    assert lines == [
        f"Epoch[1] Batch [{number}]\tSpeed: 800.00 samples/sec\taccuracy=1.000000\ttime left: 0:00:00"
        for number in (20, 40)
    ]


def test_a_speed_line_comes_after_twenty_seconds_without_one(in_mxnet: Run) -> None:
    # The second of four epochs of three batches: the clock began with it, so that three more batches took no time.
    assert in_mxnet(bodies_training.speed_lines, 3, 30) == [
        f"Epoch[1] Batch [{number}]\tSpeed: 0.27 samples/sec\taccuracy=1.000000\ttime left: {left}"
        for number, left in ((0, "0:01:00"), (1, "0:01:24"), (2, "0:01:30"))
    ]


# ---- stopping ---------------------------------------------------------------------------------------------------


def test_sigterm_while_training_exits_0_with_the_best_model_exported_and_checked(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path)
    jobs.configure(base, {"epochs": 500})
    done = jobs.run(base, until="Epoch[1] Validation-accuracy")
    assert (done.code, done.failure) == (0, "")
    assert any(line.startswith("Asked to stop (SIGTERM received)") for line in done.lines)
    assert any(line.startswith("Check of model.onnx") for line in done.lines)
    assert (done.model / "model.onnx").exists()


@pytest.mark.parametrize("until", ["Docker entrypoint called", "Merging", "samples in image form", "is set aside in"])
def test_sigterm_before_the_first_epoch_exits_0_at_once_and_leaves_no_half_model(until: str, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path)
    jobs.configure(base, {"epochs": 500})
    jobs.earlier_model(base)
    done = jobs.run(base, until=until)
    assert (done.code, done.failure) == (0, "")
    assert "Asked to stop (SIGTERM received) before any epoch was finished: there is no model to keep." in done.log
    if until == "is set aside in":  # accepted, so what is served must be its own
        assert (done.left(), done.left(earlier.ASIDE)) == ({}, jobs.EARLIER)
    else:
        assert done.left() == jobs.EARLIER


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_or_ctrl_c_while_the_model_is_exported_lets_it_finish(number: int, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    jobs.configure(base, {"epochs": 1})
    done = jobs.run(base, until="Checking the artifact", number=number)
    assert done.code == 0
    assert any(line.startswith("Check of model.onnx") for line in done.lines)


# ---- failing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epoch": 3}, "ClientError: hyperparameter 'epoch' is not known: remove it; valid and not set are "),
        (
            {"num_classes": 2},
            "ClientError: train_lst/train.lst, line 3 has the label 2: labels are whole numbers from 0 to 1",
        ),
        ({"use_pretrained_model": 1, "num_layers": 18}, "ClientError: "),
    ],
)
def test_a_mistake_of_the_user_exits_2_with_a_client_error_first_in_the_failure_file(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    jobs.configure(base, values)
    jobs.earlier_model(base)
    done = jobs.run(base)
    assert (done.code, done.failure[: len(said)]) == (2, said)
    assert done.left() == jobs.EARLIER
    assert "Traceback" not in done.log
    assert len(done.failure) <= 1024


def test_a_missing_channel_is_the_users_mistake_and_named(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    (base / "input" / "data" / "validation").rename(base / "input" / "data" / "valid")
    jobs.configure(base, {})
    done = jobs.run(base)
    assert done.code == 2
    assert done.failure.startswith(
        "ClientError: channel 'validation' is missing (given: train, train_lst, valid, validation_lst; 'valid': did "
        "you mean validation?): image-classification trains on 'train' and measures on 'validation', "
    )


def test_more_than_one_host_is_refused_in_one_sentence(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    jobs.configure(base, {})
    (base / "input" / "config" / "resourceconfig.json").write_text(
        '{"hosts": ["algo-1", "algo-2"], "current_host": "algo-1"}'
    )
    done = jobs.run(base, environ={"SM_STUDIO_LOCAL_MODE": "True"})
    assert done.code == 2
    assert (
        done.failure
        == "ClientError: the job has 2 hosts (algo-1, algo-2), and this version trains on one: set instance_count=1"
    )


def test_an_unexpected_error_exits_1_with_the_sentence_first_and_the_trace_after_it(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    jobs.configure(base, {})
    (base / "input" / "data" / "train_lst" / "classes.txt").mkdir()  # what nobody thought of
    done = jobs.run(base)
    assert done.code == 1
    assert re.match(r"IsADirectoryError: .*/classes.txt' \(at pathlib.py, line \d+\)\n\n", done.failure)
    assert "in read_text" in done.failure


@pytest.mark.parametrize("name", ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"])
def test_a_missing_configuration_file_is_named_and_never_taken_for_success(name: str, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=3, validation=3)
    jobs.configure(base, {})
    (base / "input" / "config" / name).unlink()
    done = jobs.run(base)
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {base}/input/config/{name} is missing")


def test_a_configuration_that_is_no_json_exits_2_without_a_trace(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=3, validation=3)
    jobs.configure(base, {})
    path = base / "input" / "config" / "hyperparameters.json"
    path.write_text('{"epochs": "1",\n "resize" "36"}')
    done = jobs.run(base)
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {path}, line 2 is not JSON: Expecting ':' delimiter; it must hold")
    assert "Traceback" not in done.log


def test_a_run_in_the_folder_of_an_earlier_one_reports_its_own_failure_and_no_success(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    jobs.configure(base, {"epoch": 3})
    (base / "output").mkdir()
    for name in ("failure", "success"):
        (base / "output" / name).write_text("an earlier run")
    done = jobs.run(base)
    assert done.failure.startswith("ClientError: hyperparameter 'epoch' is not known")
    assert not (base / "output" / "success").exists()
    assert "Failure file exists" not in done.log


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_model_that_cannot_be_written_whole_fails_the_job_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=32, validation=6)
    jobs.configure(base, {"epochs": 1})
    jobs.earlier_model(base)
    done = jobs.run(base, limits=_small_files_only)
    assert done.code == 1
    assert "image-classification-0001.params could not be written" in done.failure.split(";")[0]
    assert (sorted(os.listdir(done.model)), done.left()) == (sorted(jobs.EARLIER), jobs.EARLIER)
    assert any(
        line.startswith("This job wrote no model; the model of an earlier job is back in ") for line in done.lines
    )


# ---- data -------------------------------------------------------------------------------------------------------

LST = "0\t0\tacross/0.jpg"
BAD_LST = {
    "two fields": ("0\tacross/0.jpg", "train_lst/train.lst, line 1 has 2 tab-separated fields"),
    "spaces for tabs": ("0 0 across/0.jpg", "train_lst/train.lst, line 1 has 1 tab-separated field: "),
    "repeated index": (f"{LST}\n{LST}", "train_lst/train.lst, line 2 repeats the index '0' of line 1"),
    "text label": ("0\tcat\tacross/0.jpg", "train_lst/train.lst, line 1 has a label that is no number: 'cat'"),
    "fraction": ("0\t0.5\tacross/0.jpg", "train_lst/train.lst, line 1 has the label 0.5"),
    "negative": ("0\t-1\tacross/0.jpg", "train_lst/train.lst, line 1 has the label -1"),
    "nan": ("0\tnan\tacross/0.jpg", "train_lst/train.lst, line 1 has the label nan"),
    "too high": (
        "0\t3\tacross/0.jpg",
        "train_lst/train.lst, line 1 has the label 3: labels are whole numbers from 0 to 2",
    ),
    "several labels": ("0\t0\t1\tacross/0.jpg", "train_lst/train.lst, line 1 has 2 labels"),
    "empty": ("\n", "train_lst/train.lst is empty: each line is index<TAB>label<TAB>path below train/"),
    "no path exists": ("0\t0\tgone/a b.jpg\n1\t0\t0.jpg", "No path in train_lst/train.lst exists below "),
    "fewer than a batch": (LST, "The number of input images must be bigger or equal to the mini_batch_size"),
}


@pytest.fixture(scope="module")
def lst_messages(in_mxnet: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = jobs.image_channels(tmp_path_factory.mktemp("lst"), train=16, validation=3)
    return in_mxnet(
        bodies_training.lst_messages, base, jobs.HYPERPARAMETERS, {k: text for k, (text, _) in BAD_LST.items()}
    )


@pytest.mark.parametrize("case", BAD_LST)
def test_a_wrong_lst_file_is_refused_with_file_line_and_value(case: str, lst_messages: dict[str, str]) -> None:
    assert lst_messages[case].startswith(BAD_LST[case][1])


def test_an_lst_file_of_other_paths_says_what_the_channel_holds_and_does_not_advise_tolerance(
    lst_messages: dict[str, str],
) -> None:
    said = lst_messages["no path exists"].partition("/input/data/train, ")[2]
    assert said == (
        "which holds across/, down/, squares/: paths are relative to that folder, and the first of 2 is gone/a b.jpg"
    )


def test_blank_lines_crlf_float_labels_a_byte_order_mark_and_spaces_in_paths_are_read(
    in_mxnet: Run, tmp_path: Path
) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    (base / "input/data/train/across/0.jpg").rename(base / "input/data/train/across/a photo.jpg")
    text = "\ufeff0\t0.000000\tacross/a photo.jpg\r\n\r\n7\t1.0\tdown/1.jpg\r\n"
    assert in_mxnet(bodies_training.listed, base, jobs.HYPERPARAMETERS, text) == [
        ["across/a photo.jpg", 0],
        ["down/1.jpg", 1],
    ]


def test_data_of_the_wrong_form_is_refused_with_what_to_do(in_mxnet: Run, tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=16, validation=3)
    said = in_mxnet(bodies_training.form_messages, base, jobs.HYPERPARAMETERS)
    assert said["no resize"].startswith("hyperparameter resize is required for images with .lst files")
    assert said["recordio without a file"].startswith("channel 'train' holds no .rec file, only across/, ")
    assert "is not a RecordIO file: at byte 0 stands a JPEG image" in said["jpeg for recordio"]
    assert said["photo smaller than the crop"].startswith(
        "train.rec, record 0 is 48 x 48 pixels, smaller than image_shape=(3, 64, 64)"
    )
    assert said["class names of another count"].startswith("train_lst/classes.txt names 2 classes and num_classes=3")


# ---- parts ------------------------------------------------------------------------------------------------------


def test_every_depth_of_both_families_builds_and_classifies(in_mxnet: Run) -> None:
    shapes = in_mxnet(bodies_training.output_shapes)
    assert shapes == {str(layers): [2, 5] for layers in (18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110)}


@pytest.mark.parametrize("layers", [18, 50, 110])
def test_the_exported_graph_agrees_with_mxnet_on_random_weights(layers: int, in_mxnet: Run, tmp_path: Path) -> None:
    assert in_mxnet(bodies_training.export_and_verify, tmp_path, layers) == "verified"


def test_an_artifact_that_answers_otherwise_than_it_was_trained_is_refused(in_mxnet: Run, tmp_path: Path) -> None:
    said = in_mxnet(bodies_training.refused_artifacts, tmp_path)
    assert said["other outputs"].startswith("model.onnx differs from the trained network by")
    assert said["other metric"].startswith(
        "the server's code reaches 1.0000 on 1 validation file where training logged 0.5"
    )
    assert said["truncated photo"].startswith(
        "the server's code cannot read a validation image: dog/2.jpg: the image is truncated (400 bytes arrived)"
    )
    assert said["photo that is gone"].startswith("validation image dog/0.jpg does not exist, though")
    assert said["damaged graph"].startswith("the check of the artifact failed with exit code 1: serve.check: ")


@pytest.mark.parametrize("name", ["sgd", "nag", "adam", "rmsprop"])
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, in_mxnet: Run) -> None:
    before, after = in_mxnet(bodies_training.losses, name)
    assert after < 0.5 * before


def test_the_learning_rate_falls_by_the_factor_after_the_given_epochs(in_mxnet: Run) -> None:
    # 10 samples in batches of 4 are 3 updates an epoch: epochs 0 and 1 at 0.1, epoch 2 at 0.01, epoch 3 at 0.001.
    rates = in_mxnet(bodies_training.learning_rates)
    assert rates == pytest.approx([0.1] * 6 + [0.01] * 3 + [0.001] * 3)


def test_momentum_decay_and_adams_parameters_reach_the_optimizer(in_mxnet: Run) -> None:
    assert in_mxnet(bodies_training.optimizer_settings) == {
        "sgd": [0.7, 0.02], "nag": [0.7, 0.02], "adam": [0.8, 0.99, 1e-3, 0.0], "rmsprop": [0.6, 1e-3, 0.0],
    }  # fmt: skip


def test_a_weighted_loss_weighs_each_label_by_its_rarity(in_mxnet: Run) -> None:
    # Labels in 1 of 4 and 2 of 4 samples weigh 3 and 1; at logit 0 each term is ln 2: (3 + 1) / 2 ln 2 for [1, 1].
    assert in_mxnet(bodies_training.weighted_loss) == pytest.approx(2 * 0.6931472, rel=1e-5)


def test_augmentations_do_what_their_names_say(in_mxnet: Run) -> None:
    assert in_mxnet(bodies_training.augmentations) == "as named"
