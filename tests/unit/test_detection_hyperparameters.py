"""The hyperparameters of object-detection: names, defaults and limits of the built-in."""

import re

import pytest

from train.errors import UserError
from train.object_detection.hyperparameters import check

REQUIRED = {"num_classes": "2", "num_training_samples": "100"}


def test_defaults_match_the_built_in() -> None:
    values = check(REQUIRED)
    assert (
        values.values()
        | {
            "base_network": "vgg-16",
            "use_pretrained_model": True,
            "image_shape": 300,
            "epochs": 30,
            "mini_batch_size": 32,
            "optimizer": "sgd",
            "learning_rate": 0.001,
            "lr_scheduler_factor": 0.1,
            "lr_scheduler_step": (),
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "overlap_threshold": 0.5,
            "nms_threshold": 0.45,
            "nms_topk": 400,
            "label_width": 350,
            "freeze_layer_pattern": None,
            "early_stopping": False,
            "early_stopping_min_epochs": 10,
            "early_stopping_patience": 5,
            "early_stopping_tolerance": 0.0,
            "kv_store": None,
        }
        == values.values()
    )
    assert values.max_objects() == 69


def test_the_notebooks_hyperparameters_are_accepted_unchanged() -> None:
    texts = {
        "base_network": "resnet-50",
        "use_pretrained_model": "0",
        "mini_batch_size": "4",
        "epochs": "1",
        "learning_rate": "0.001",
        "lr_scheduler_step": "10",
        "lr_scheduler_factor": "0.1",
        "optimizer": "sgd",
        "momentum": "0.9",
        "weight_decay": "0.0005",
        "overlap_threshold": "0.5",
        "nms_threshold": "0.45",
        "image_shape": "300",
        "_kvstore": "device",
        "_num_kv_servers": "auto",
        "nms_topk": "400",
    }
    values = check(REQUIRED | texts)
    assert (values.base_network, values.lr_scheduler_step, values.image_shape) == ("resnet-50", (10,), 300)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("base_network", "resnet-34"),
        ("image_shape", "63"),
        ("image_shape", "3,300,300"),
        ("overlap_threshold", "0"),
        ("nms_threshold", "1.01"),
        ("nms_topk", "2001"),
        ("label_width", "6"),
        ("freeze_layer_pattern", "["),
        ("optimizer", "nag"),
        ("lr_scheduler_step", "20,10"),
        ("learning_rate", "0"),
        ("lr_scheduler_factor", "0"),
        ("lr_scheduler_factor", "1"),
    ],
)
def test_a_value_out_of_range_is_rejected_with_name_and_value(name: str, text: str) -> None:
    with pytest.raises(UserError, match=f"hyperparameter {name}='?{re.escape(text)}"):
        check(REQUIRED | {name: text})


@pytest.mark.parametrize(("name", "text"), [("learning_rate", "1"), ("momentum", "0"), ("weight_decay", "0")])
def test_range_limits_that_notebooks_use_are_accepted(name: str, text: str) -> None:
    assert getattr(check(REQUIRED | {name: text}), name) == float(text)


@pytest.mark.parametrize("text", ["", "false", "False", "0", "none"])
def test_no_pattern_can_be_written_in_several_ways(text: str) -> None:
    assert check(REQUIRED | {"freeze_layer_pattern": text}).freeze_layer_pattern is None


def test_a_pattern_must_match_at_the_start_of_a_name() -> None:
    values = check(REQUIRED | {"freeze_layer_pattern": "conv1_"})
    assert values.freezes("conv1_1_weight")
    assert not values.freezes("stage1_unit1_conv1_weight")
