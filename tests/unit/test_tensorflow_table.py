"""Hyperparameters of image-classification-tensorflow: both families of names, what goes together, what is ignored."""

import pytest

from train.errors import UserError
from train.image_classification_tensorflow import table


def refusal(**raw: str) -> str:
    with pytest.raises(UserError) as caught:
        table.check(raw)
    return str(caught.value)


def test_nothing_has_to_be_set() -> None:
    found = table.check({})
    assert (found["image_shape"], found["resize"], found["mini_batch_size"]) == ((3, 128, 128), 128, 32)
    assert found["num_classes"] is None


@pytest.mark.parametrize("sides", ["72,128", "128,72"])
def test_the_smaller_side_of_the_shape_is_the_shorter_side_of_photos_unless_told(sides: str) -> None:
    assert table.check({"image_shape": f"3,{sides}"})["resize"] == 72


def test_the_hyperparameters_of_the_seeds_script_are_taken_as_they_are() -> None:
    found = table.check({"epochs": "3", "batch_size": "16", "steps": "367", "val_steps": "93", "model_dir": "s3://a/b"})
    assert (found["epochs"], found["mini_batch_size"]) == (3, 16)
    assert not {"steps", "val_steps", "model_dir", "batch_size"} & set(found)


@pytest.mark.parametrize("name", ["steps", "val_steps"])
def test_what_the_data_says_itself_is_ignored_with_a_warning(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table.LOG, "propagate", True)
    table.check({name: "367"})
    assert f"{name} is ignored: an epoch has as many batches as the data fills" in caplog.text


def test_one_thing_with_two_names_and_two_values_is_refused() -> None:
    assert refusal(batch_size="16", mini_batch_size="32").startswith(
        "hyperparameters mini_batch_size=32 and batch_size=16 are two names of one thing"
    )
    assert table.check({"batch_size": "16", "mini_batch_size": "16"})["mini_batch_size"] == 16


@pytest.mark.parametrize(
    ("raw", "trained"),
    [
        ({}, "all"),
        ({"use_pretrained_model": "1"}, "head"),
        ({"use_pretrained_model": "1", "train_layers": "All"}, "all"),
        ({"train_layers": "HEAD"}, "head"),
        ({"train_layers": "3"}, 3),
        ({"train_layers": "19"}, "all"),
    ],
)
def test_all_layers_are_trained_but_above_pretrained_ones_the_head_alone(raw: dict[str, str], trained: str) -> None:
    assert table.check(raw)["train_layers"] == trained


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"num_classes": "1"}, "hyperparameter num_classes='1' is not valid: it takes a whole number of at least 2"),
        ({"image_shape": "3,16,16"}, "hyperparameter image_shape=(3, 16, 16) is too small: MobileNetV2 takes sides"),
        ({"alpha": "0.6"}, "hyperparameter alpha='0.6' is not valid: it takes one of 0.35, 0.5, 0.75, 1.0, 1.3, 1.4"),
        ({"train_layers": "20"}, "hyperparameter train_layers='20' is not valid: it takes head, all, or how many"),
        ({"train_layers": "top"}, "hyperparameter train_layers='top' is not valid"),
        ({"rotation_range": "181"}, "hyperparameter rotation_range='181' is not valid: it takes degrees from 0 to 180"),
        ({"rotation_range": "nan"}, "hyperparameter rotation_range='nan' is not valid"),
        ({"zoom_range": "1"}, "hyperparameter zoom_range='1' is not valid"),
        ({"resize": "100"}, "hyperparameter resize=100 is smaller than image_shape=128x128"),
        ({"resize": "71", "image_shape": "3,72,128"}, "hyperparameter resize=71 is smaller than image_shape=72x128"),
        ({"top_k": "3", "num_classes": "2"}, "hyperparameter top_k=3 is above num_classes=2"),
        ({"validation_split": "0"}, "hyperparameter validation_split='0' is not valid"),
        ({"step": "3"}, "hyperparameter 'step' is not known: did you mean steps?"),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_valid(raw: dict[str, str], said: str) -> None:
    assert refusal(**raw).startswith(said)


def test_alpha_is_read_as_a_number_is_written() -> None:
    assert [table.check({"alpha": text})["alpha"] for text in ("1", "1.0", "1.00", "0.50")] == [1.0, 1.0, 1.0, 0.5]
