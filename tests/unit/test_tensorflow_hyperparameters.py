"""Hyperparameters of image-classification-tensorflow: both sets of names, conflicts, and ignored values."""

import logging

import pytest

from train import fields
from train.errors import UserError
from train.image_classification_tensorflow import builtin
from train.image_classification_tensorflow.hyperparameters import check
from train.log import LOG


def rejection(**raw: str) -> str:
    with pytest.raises(UserError) as caught:
        check(raw)
    return str(caught.value)


def test_no_hyperparameter_is_required() -> None:
    hyperparameters = check({})
    assert (hyperparameters.image_shape, hyperparameters.resize, hyperparameters.mini_batch_size) == (
        (3, 128, 128),
        128,
        32,
    )
    assert hyperparameters.num_classes is None


@pytest.mark.parametrize("sides", ["72,128", "128,72"])
def test_by_default_photos_are_resized_to_the_smaller_side_of_the_shape(sides: str) -> None:
    assert check({"image_shape": f"3,{sides}"}).resize == 72


def test_the_hyperparameters_of_the_seed_projects_script_are_accepted() -> None:
    hyperparameters = check(
        {"epochs": "3", "batch_size": "16", "steps": "367", "val_steps": "93", "model_dir": "s3://a/b"}
    )
    assert (hyperparameters.epochs, hyperparameters.mini_batch_size) == (3, 16)
    assert not {"steps", "val_steps", "model_dir", "batch_size"} & set(hyperparameters.values())


@pytest.mark.parametrize("name", ["steps", "val_steps"])
def test_hyperparameters_that_the_data_determines_are_ignored_with_a_warning(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOG, "propagate", True)
    check({name: "367"})
    assert f"{name}=367 is ignored: an epoch always uses all data" in caplog.text


def test_two_names_of_one_setting_with_different_values_are_rejected() -> None:
    assert rejection(batch_size="16", mini_batch_size="32").startswith(
        "hyperparameters mini_batch_size=32 and batch_size=16 are the same setting"
    )
    assert check({"batch_size": "16", "mini_batch_size": "16"}).mini_batch_size == 16


@pytest.mark.parametrize(
    ("raw", "train_layers"),
    [
        ({}, "all"),
        ({"use_pretrained_model": "1"}, "head"),
        ({"use_pretrained_model": "1", "train_layers": "All"}, "all"),
        ({"train_layers": "HEAD"}, "head"),
        ({"train_layers": "3"}, 3),
        ({"train_layers": "19"}, "all"),
    ],
)
def test_all_layers_are_trained_by_default_and_only_the_head_with_pretrained_weights(
    raw: dict[str, str], train_layers: str
) -> None:
    assert check(raw).train_layers == train_layers


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"num_classes": "1"}, "hyperparameter num_classes='1' is not valid: expected a whole number of at least 2"),
        ({"image_shape": "3,16,16"}, "hyperparameter image_shape=(3, 16, 16) is too small: MobileNetV2 takes sides"),
        ({"alpha": "0.6"}, "hyperparameter alpha='0.6' is not valid: expected one of 0.35, 0.5, 0.75, 1.0, 1.3, 1.4"),
        ({"train_layers": "20"}, "hyperparameter train_layers='20' is not valid: expected head, all, or how many"),
        ({"train_layers": "top"}, "hyperparameter train_layers='top' is not valid"),
        ({"rotation_range": "181"}, "hyperparameter rotation_range='181' is not valid: expected degrees from 0 to 180"),
        ({"rotation_range": "nan"}, "hyperparameter rotation_range='nan' is not valid"),
        ({"zoom_range": "1"}, "hyperparameter zoom_range='1' is not valid"),
        ({"resize": "100"}, "hyperparameter resize=100 is smaller than image_shape=128x128"),
        ({"resize": "71", "image_shape": "3,72,128"}, "hyperparameter resize=71 is smaller than image_shape=72x128"),
        ({"top_k": "3", "num_classes": "2"}, "hyperparameter top_k=3 is above num_classes=2"),
        ({"validation_split": "0"}, "hyperparameter validation_split='0' is not valid"),
        ({"step": "3"}, "hyperparameter 'step' is unknown: did you mean steps?"),
    ],
)
def test_a_value_out_of_range_is_rejected_with_what_is_valid(raw: dict[str, str], message: str) -> None:
    assert rejection(**raw).startswith(message)


def test_alpha_may_be_written_like_any_number() -> None:
    assert [check({"alpha": text}).alpha for text in ("1", "1.0", "1.00", "0.50")] == [1.0, 1.0, 1.0, 0.5]


# ---- SageMaker's own TensorFlow image classification ------------------------------------------------------------

# Its hyperparameters with their defaults, as its page lists them and `hyperparameters.retrieve_default` returns them.
BUILT_IN = {
    "augmentation": "False",
    "augmentation_random_flip": "horizontal_and_vertical",
    "augmentation_random_rotation": "0.2",
    "augmentation_random_zoom": "0.1",
    "batch_size": "32",
    "beta_1": "0.9",
    "beta_2": "0.999",
    "binary_mode": "False",
    "dropout_rate": "0.2",
    "early_stopping": "False",
    "early_stopping_min_delta": "0.0",
    "early_stopping_patience": "5",
    "epochs": "3",
    "epsilon": "1e-7",
    "eval_metric": "accuracy",
    "image_resize_interpolation": "bilinear",
    "initial_accumulator_value": "0.0001",
    "label_smoothing": "0.1",
    "learning_rate": "0.001",
    "momentum": "0.9",
    "optimizer": "adam",
    "regularizers_l2": "0.0001",
    "reinitialize_top_layer": "Auto",
    "rho": "0.95",
    "train_only_top_layer": "False",
}
NO_EQUIVALENT = ("label_smoothing", "regularizers_l2")


def test_all_hyperparameters_of_the_built_in_that_have_an_equivalent_are_accepted() -> None:
    hyperparameters = check({name: text for name, text in BUILT_IN.items() if name not in NO_EQUIVALENT})
    assert not fields.rows([builtin.BuiltinNames]).keys() & hyperparameters.values().keys()
    assert (hyperparameters.horizontal_flip, hyperparameters.rotation_range, hyperparameters.zoom_range) == (
        False,
        0.0,
        0.0,
    )
    assert (hyperparameters.mini_batch_size, hyperparameters.train_layers, hyperparameters.dropout) == (32, "all", 0.2)
    assert (hyperparameters.eps, hyperparameters.gamma, hyperparameters.early_stopping_tolerance) == (1e-7, 0.95, 0.0)


def test_hyperparameters_without_an_equivalent_are_reported_together() -> None:
    message = rejection(**BUILT_IN)
    for name in NO_EQUIVALENT:
        assert (
            f"hyperparameter {name}={BUILT_IN[name]!r} is not valid: expected only 0, because it belongs to " in message
        )
    assert message.count("SageMaker's built-in TensorFlow image classification and is not supported here") == 2
    check(BUILT_IN | dict.fromkeys(NO_EQUIVALENT, "0"))


@pytest.mark.parametrize(
    ("raw", "equivalent", "line"),
    [
        (
            {"train_only_top_layer": "True"},
            {"train_layers": "head"},
            "train_only_top_layer=True means train_layers=head",
        ),
        (
            {"train_only_top_layer": "False", "use_pretrained_model": "1"},
            {"train_layers": "all"},
            "train_only_top_layer=False means train_layers=all",
        ),
        ({"dropout_rate": "0.3"}, {"dropout": 0.3}, "dropout_rate=0.3 means dropout=0.3"),
        ({"optimizer": "nesterov"}, {"optimizer": "nag"}, "optimizer=nesterov means optimizer=nag"),
        (
            {"augmentation": "True"},
            {"horizontal_flip": True, "rotation_range": 72.0, "zoom_range": 0.1},
            "augmentation=True means horizontal_flip=True, rotation_range=72.0, zoom_range=0.1",
        ),
        (
            {"augmentation": "True", "augmentation_random_flip": "None", "augmentation_random_rotation": "-0.75"},
            {"horizontal_flip": False, "rotation_range": 180.0, "zoom_range": 0.1},
            "augmentation=True, augmentation_random_flip=none, augmentation_random_rotation=0.75 means "
            "horizontal_flip=False, rotation_range=180.0, zoom_range=0.1",
        ),
        (
            {"augmentation_random_flip": "vertical"},
            {"horizontal_flip": False, "rotation_range": 20.0},
            "augmentation_random_flip=vertical: photos are not flipped vertically here",
        ),
        (
            {"binary_mode": "True", "num_classes": "2"},
            {"num_classes": 2},
            "binary_mode=True means num_classes=2: a prediction has a probability for each class",
        ),
    ],
)
def test_a_hyperparameter_of_the_built_in_becomes_its_equivalent_and_is_logged(
    raw: dict[str, str], equivalent: dict[str, object], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="train"):
        assert equivalent.items() <= check(raw).values().items()
    assert line in caplog.messages


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"train_only_top_layer": "True", "train_layers": "all"},
            "hyperparameter train_layers=all contradicts train_only_top_layer=True, which means train_layers=head here",
        ),
        (
            {"augmentation": "False", "zoom_range": "0.1"},
            "hyperparameter zoom_range=0.1 contradicts augmentation=False, which means horizontal_flip=False, ",
        ),
        ({"binary_mode": "True", "num_classes": "3"}, "hyperparameter binary_mode=True contradicts num_classes=3, "),
        ({"optimizer": "adagrad"}, "hyperparameter optimizer='adagrad' is not valid: expected one of sgd, adam, rmspr"),
        (
            {"reinitialize_top_layer": "False"},
            "hyperparameter reinitialize_top_layer='False' is not valid: expected only auto",
        ),
        (
            {"dropout_rate": "1"},
            "hyperparameter dropout_rate='1' is not valid: expected a number from 0 to 1, excluding 1",
        ),
        ({"augmentation_random_rotation": "nan"}, "hyperparameter augmentation_random_rotation='nan' is not valid"),
    ],
)
def test_values_without_an_equivalent_and_contradictions_are_rejected(raw: dict[str, str], message: str) -> None:
    assert rejection(**raw).startswith(message)


def test_the_same_value_under_both_names_is_not_a_contradiction() -> None:
    assert check({"train_only_top_layer": "1", "train_layers": "Head"}).train_layers == "head"
    assert check({"train_only_top_layer": "0", "train_layers": "19"}).train_layers == "all"


@pytest.mark.parametrize(
    ("raw", "name", "value"),
    [
        ({"augmentation": "False", "zoom_range": "None"}, "zoom_range", 0.0),
        ({"batch_size": "16", "mini_batch_size": "None"}, "mini_batch_size", 16),
        ({"binary_mode": "True", "num_classes": "None"}, "num_classes", 2),
    ],
)
def test_a_hyperparameter_of_none_counts_as_not_set_and_contradicts_nothing(
    raw: dict[str, str], name: str, value: object
) -> None:
    assert getattr(check(raw), name) == value
