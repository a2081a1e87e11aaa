"""Hyperparameters: read as SageMaker writes them, and checked for image-classification."""

import contextlib
import importlib
import json
from pathlib import Path
from typing import ClassVar, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.images import TRAINING
from train import fields, hyperparameter_types
from train.early_stopping import EarlyStopping
from train.errors import UserError
from train.image_classification.hyperparameters import ACCEPTED, check

REQUIRED = {"num_classes": "3", "num_training_samples": "300", "resize": "224"}


def read(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "hyperparameters.json"
    path.write_text(text)
    return hyperparameter_types.read(path)


def test_a_missing_file_sets_nothing(tmp_path: Path) -> None:
    assert hyperparameter_types.read(tmp_path / "hyperparameters.json") == {}


@given(values=st.dictionaries(st.text(min_size=1), st.text()))
def test_plain_strings_and_strings_encoded_twice_give_the_same_values(
    values: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hp")
    decoded = read(folder, json.dumps({name: json.dumps(value) for name, value in values.items()}))
    assert decoded == values


def test_numbers_and_booleans_are_read_as_their_text(tmp_path: Path) -> None:
    assert read(tmp_path, '{"a": 3, "b": true, "c": null, "d": "3,224,224"}') == {
        "a": "3",
        "b": "true",
        "c": "",
        "d": "3,224,224",
    }


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", "contains a JSON list")])
def test_a_file_that_is_not_a_json_object_is_reported(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_keys_of_the_platform_and_empty_values_are_ignored() -> None:
    raw = {
        "_tuning_objective_metric": "x",
        "sagemaker_program": "y",
        "default_user_module_name": "z",
        "lr_scheduler_step": " ",
        "epochs": " 3 ",
    }
    assert hyperparameter_types.user_settings(raw) == {"epochs": "3"}


def test_defaults_match_the_built_in() -> None:
    values = check(REQUIRED)
    expected = {
        "num_layers": 152,
        "image_shape": (3, 224, 224),
        "use_pretrained_model": False,
        "epochs": 30,
        "mini_batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler_factor": 0.1,
        "lr_scheduler_step": (),
        "momentum": 0.9,
        "weight_decay": 0.0001,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "eps": 1e-8,
        "gamma": 0.9,
        "augmentation_type": None,
        "multi_label": False,
        "use_weighted_loss": False,
        "precision_dtype": "float32",
        "top_k": None,
        "checkpoint_frequency": None,
        "early_stopping": False,
        "early_stopping_min_epochs": 10,
        "early_stopping_patience": 5,
        "early_stopping_tolerance": 0.0,
        "kv_store": None,
    }
    assert expected.items() <= values.values().items()


def test_every_value_of_the_seed_projects_notebook_is_accepted() -> None:
    notebook = {
        "num_layers": "18",
        "use_pretrained_model": "1",
        "image_shape": "3,224,224",
        "num_classes": "37",
        "mini_batch_size": "32",
        "resize": "224",
        "epochs": "10",
        "learning_rate": "0.001",
        "num_training_samples": "5883",
        "use_weighted_loss": "1",
        "augmentation_type": "crop_color_transform",
    }
    values = check(notebook)
    assert (values.num_layers, values.learning_rate, values.use_weighted_loss) == (18, 0.001, True)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("image_shape", " 3, 128 ,96", (3, 128, 96)),
        ("image_shape", "1,28,28", (1, 28, 28)),
        ("early_stopping", "True", True),
        ("early_stopping", "false", False),
        ("multi_label", "0", False),
        ("lr_scheduler_step", "10, 20", (10, 20)),
        ("lr_scheduler_step", "[10, 20]", (10, 20)),
        ("lr_scheduler_step", "(10,)", (10,)),
        ("lr_scheduler_step", "10, 20,", (10, 20)),
        ("lr_scheduler_step", "10.0,20.0", (10, 20)),
        ("lr_scheduler_step", "None", ()),
        ("lr_scheduler_step", "[]", ()),
        ("image_shape", "(3, 128, 96)", (3, 128, 96)),
        ("image_shape", "[3.0, 128.0, 96.0]", (3, 128, 96)),
        ("image_shape", "3,128,96,", (3, 128, 96)),
        ("augmentation_type", "None", None),
        ("top_k", "none", None),
        ("checkpoint_frequency", "null", None),
        ("early_stopping_patience", "0", 0),
        ("early_stopping_min_epochs", "0", 0),
        ("kv_store", "dist_device_sync", "dist_device_sync"),
        ("kv_store", "device", "device"),
        ("mini_batch_size", "16.0", 16),
        ("learning_rate", "1e-3", 0.001),
        ("optimizer", "NAG", "nag"),
        ("num_layers", "110", 110),
    ],
)
def test_values_are_read_in_the_forms_that_consoles_and_notebooks_write(name: str, text: str, value: object) -> None:
    assert getattr(check({**REQUIRED, name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("epochs", "0"),
        ("epochs", "many"),
        ("epochs", "2.5"),
        ("epochs", "inf"),
        ("learning_rate", "1.5"),
        ("learning_rate", "nan"),
        ("learning_rate", "-0.1"),
        ("num_layers", "42"),
        ("image_shape", "224"),
        ("image_shape", "4,224,224"),
        ("image_shape", "3,8,8"),
        ("optimizer", "lars"),
        ("augmentation_type", "mixup"),
        ("lr_scheduler_step", "20,10"),
        ("lr_scheduler_step", "a"),
        ("lr_scheduler_step", "10.5,20"),
        ("lr_scheduler_step", "10,,20"),
        ("lr_scheduler_step", ","),
        ("lr_scheduler_step", "0,10"),
        ("lr_scheduler_step", "inf"),
        ("early_stopping_patience", "-1"),
        ("early_stopping", "yes"),
        ("top_k", "1"),
        ("momentum", "2"),
        ("beta_1", "1"),
        ("beta_2", "1.0"),
        ("beta_2", "-0.1"),
        ("seed", "-1"),
        ("unreadable_tolerance", "5"),
        ("inference_resize", "pad"),
        ("precision_dtype", "int8"),
    ],
)
def test_a_value_out_of_range_is_rejected_with_name_value_and_what_is_valid(name: str, text: str) -> None:
    with pytest.raises(UserError) as caught:
        check({**REQUIRED, name: text})
    assert str(caught.value).startswith(f"hyperparameter {name}={text!r} is not valid: expected ")
    assert caught.value.errno == 2


@pytest.mark.parametrize("name", ["learning_rate", "lr_scheduler_factor", "momentum", "weight_decay", "eps", "gamma"])
@pytest.mark.parametrize("text", ["0", "1"])
def test_both_ends_are_valid_if_the_built_in_algorithm_allows_them(name: str, text: str) -> None:
    assert getattr(check({**REQUIRED, name: text}), name) == float(text)


@pytest.mark.parametrize("text", ["0", "0.999999"])
def test_the_betas_of_adam_must_be_below_1_because_its_update_would_divide_by_zero(text: str) -> None:
    assert check({**REQUIRED, "beta_1": text, "beta_2": text}).beta_2 == float(text)
    with pytest.raises(UserError, match=r"beta_1='1' is not valid: expected a number from 0 to 1, excluding 1$"):
        check({**REQUIRED, "beta_1": "1"})


@given(value=st.floats())
def test_a_range_includes_its_ends_unless_they_are_excluded(value: float) -> None:
    ranges = {
        fields.real(0.5): 0 <= value <= 1,
        fields.real(0.5, without=(0,)): 0 < value <= 1,
        fields.real(0.5, without=(1,)): 0 <= value < 1,
        fields.real(0.5, without=(0, 1)): 0 < value < 1,
    }
    for real, is_valid in ranges.items():
        (row,) = real.metadata.values()
        with contextlib.nullcontext() if is_valid else pytest.raises(ValueError, match=r"^$"):
            assert row.parse(repr(value)) == value


@pytest.mark.parametrize(
    ("without", "valid"),
    [
        ((), "a number from 0 to 1"),
        ((1,), "a number from 0 to 1, excluding 1"),
        ((0, 1), "a number from 0 to 1, excluding 0 and 1"),
    ],
)
def test_the_description_of_a_range_names_its_excluded_ends(without: tuple[int, ...], valid: str) -> None:
    (row,) = fields.real(0.5, without).metadata.values()
    assert row.valid == valid


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("num_layer", "num_layers"),
        ("learning-rate", "learning_rate"),
        ("batch_size", "mini_batch_size"),
        ("EPOCHS", "epochs"),
    ],
)
def test_an_unknown_name_is_rejected_with_the_most_similar_name(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"hyperparameter '{name}' is unknown: did you mean {near}\\?"):
        check({**REQUIRED, name: "1"})


def test_a_hyperparameter_that_is_already_set_is_not_suggested() -> None:
    with pytest.raises(UserError) as caught:
        check({**REQUIRED, "mini_batch_size": "8", "batch_size": "8", "epochs": "3", "Epochs": "3"})
    assert str(caught.value).startswith(
        "hyperparameter 'batch_size' is unknown: remove it; valid names that are not set: "
    )
    assert "hyperparameter 'Epochs' is unknown: remove it; epochs is already set" in str(caught.value)
    assert "did you mean" not in str(caught.value)


def test_a_required_hyperparameter_of_none_counts_as_not_set() -> None:
    with pytest.raises(UserError, match="hyperparameter num_classes is required but not set"):
        check({**REQUIRED, "num_classes": "None"})


@pytest.mark.parametrize(("patience", "last_epoch"), [(0, 3), (1, 3), (2, 4)])
def test_a_patience_of_0_stops_at_the_first_epoch_without_improvement_like_1(patience: int, last_epoch: int) -> None:
    stopping = {"early_stopping": "1", "early_stopping_patience": str(patience), "early_stopping_min_epochs": "0"}
    early_stopping = EarlyStopping(check({**REQUIRED, **stopping}))
    ends = []
    for epoch, value in enumerate((0.1, 0.2, 0.3, 0.3, 0.3)):
        early_stopping.note(value)
        ends.append(early_stopping.ends(epoch))
    assert ends.index(True) == last_epoch


def test_a_name_unlike_any_other_is_rejected_with_the_list_of_all_names() -> None:
    with pytest.raises(
        UserError, match="'zzz' is unknown: remove it; valid names that are not set: augmentation_type, beta_1"
    ):
        check({**REQUIRED, "zzz": "1"})


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(UserError) as caught:
        check({"num_classes": "0", "epoch": "1"})
    assert [
        part in str(caught.value) for part in ("num_classes='0'", "'epoch'", "num_training_samples is required")
    ] == [True] * 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resize": "100"}, "resize=100 is smaller than image_shape=224x224: set resize to at least 224"),
        ({"resize": "71", "image_shape": "3,72,128"}, "resize=71 is smaller .* set resize to at least 72"),
        ({"resize": "71", "image_shape": "3,128,72"}, "resize=71 is smaller .* set resize to at least 72"),
        ({"top_k": "4"}, "top_k=4 is above num_classes=3"),
        ({"top_k": "2", "multi_label": "1"}, "top_k has no meaning with multi_label=1"),
    ],
)
def test_conflicting_values_are_rejected(values: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check({**REQUIRED, **values})


@pytest.mark.parametrize("algorithm", TRAINING)
def test_an_algorithm_has_every_hyperparameter_that_its_base_classes_declare(algorithm: str) -> None:
    module = importlib.import_module(f"train.{algorithm.replace('-', '_')}.hyperparameters")
    hints = get_type_hints(module.Hyperparameters)
    declared = {name for name, kind in hints.items() if get_origin(kind) is not ClassVar}
    assert declared == fields.rows([module.Hyperparameters]).keys()


@given(text=st.text())
def test_any_text_is_parsed_or_gives_a_user_error(text: str) -> None:
    for name in fields.rows(ACCEPTED):
        with contextlib.suppress(UserError):
            hyperparameter_types.resolve({**REQUIRED, name: text}, ACCEPTED)


@pytest.mark.parametrize(("steps", "late"), [("10,20", "10,20"), ("2,4", "4"), ("1,3", ""), ("", "")])
def test_steps_of_the_learning_rate_after_the_last_epoch_give_a_warning(
    steps: str, late: str, caplog: pytest.LogCaptureFixture
) -> None:
    check({**REQUIRED, "epochs": "4", "lr_scheduler_step": steps}).log()
    message = [line for line in caplog.messages if "training ends before" in line]
    warning = f"lr_scheduler_step={late} is not below epochs=4: training ends before the learning rate is reduced"
    assert message == [warning] * bool(late)
