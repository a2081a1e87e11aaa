"""The hyperparameters of semantic-segmentation: names, defaults and limits of the built-in."""

import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.errors import UserError
from train.semantic_segmentation.hyperparameters import check

REQUIRED = {"num_classes": "21", "num_training_samples": "100"}


def test_defaults_match_the_built_in() -> None:
    values = check(REQUIRED)
    assert (
        values.values()
        | {
            "backbone": "resnet-50",
            "algorithm": "fcn",
            "use_pretrained_model": True,
            "base_size": 520,
            "crop_size": 240,
            "epochs": 10,
            "mini_batch_size": 16,
            "validation_mini_batch_size": 16,
            "optimizer": "sgd",
            "learning_rate": 0.001,
            "lr_scheduler": "poly",
            "lr_scheduler_factor": 0.1,
            "lr_scheduler_step": (),
            "momentum": 0.9,
            "weight_decay": 0.0001,
            "gamma1": 0.9,
            "gamma2": 0.9,
            "syncbn": False,
            "early_stopping": False,
            "early_stopping_min_epochs": 5,
            "early_stopping_patience": 4,
            "early_stopping_tolerance": 0.0,
            "precision_dtype": "float32",
        }
        == values.values()
    )


def test_the_notebooks_hyperparameters_are_accepted_unchanged() -> None:
    texts = {
        "backbone": "resnet-50",
        "algorithm": "fcn",
        "use_pretrained_model": "False",
        "crop_size": "240",
        "num_classes": "4",
        "epochs": "1",
        "learning_rate": "0.0001",
        "optimizer": "rmsprop",
        "lr_scheduler": "poly",
        "mini_batch_size": "16",
        "validation_mini_batch_size": "16",
        "early_stopping": "True",
        "early_stopping_patience": "3",
        "early_stopping_min_epochs": "10",
    }
    values = check(REQUIRED | texts)
    assert (values.use_pretrained_model, values.crop_size, values.optimizer) == (False, 240, "rmsprop")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("num_classes", "1"),
        ("num_classes", "255"),
        ("backbone", "resnet-34"),
        ("algorithm", "unet"),
        ("base_size", "16"),
        ("crop_size", "16"),
        ("inference_size", "16"),
        ("inference_size", "2049"),
        ("optimizer", "ftrl"),
        ("learning_rate", "0"),
        ("lr_scheduler", "linear"),
        ("gamma1", "1.5"),
        ("early_stopping_tolerance", "-0.1"),
    ],
)
def test_a_value_out_of_range_is_rejected_with_name_and_value(name: str, text: str) -> None:
    with pytest.raises(UserError, match=f"hyperparameter {name}='?{re.escape(text)}"):
        check(REQUIRED | {name: text})


@given(st.integers(17, 2048))
def test_crop_size_is_rounded_up_to_a_multiple_of_8(size: int) -> None:
    rounded = check(REQUIRED | {"crop_size": str(size)}).crop_size
    assert rounded % 8 == 0
    assert size <= rounded < size + 8


def test_inference_size_defaults_to_base_size_and_is_rounded_up_to_a_multiple_of_8() -> None:
    assert check(REQUIRED | {"base_size": "97"}).inference_size == 104
    assert check(REQUIRED | {"base_size": "97", "inference_size": "126"}).inference_size == 128


def test_the_step_schedule_needs_steps() -> None:
    with pytest.raises(UserError, match="lr_scheduler_step is required with lr_scheduler=step"):
        check(REQUIRED | {"lr_scheduler": "step"})
    assert check(REQUIRED | {"lr_scheduler": "step", "lr_scheduler_step": "3,5"}).lr_scheduler_step == (3, 5)


def test_settings_without_effect_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    texts = {"lr_scheduler_step": "10,20", "syncbn": "True"}
    with caplog.at_level(logging.INFO, logger="train"):
        check(REQUIRED | texts).log()
    for part in ("lr_scheduler_step=10,20 is ignored", "syncbn=True has no effect"):
        assert part in caplog.text
