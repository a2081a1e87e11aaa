"""The hyperparameters of image-classification-tensorflow: image-classification's names, and those of Keras scripts."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from train import classifier
from train.errors import UserError
from train.hyperparameters import (
    Hyperparameter,
    choice,
    early_stopping,
    flag,
    given,
    ignored,
    integer,
    real,
    resolve,
    shape,
    steps,
)
from train.image_classification_tensorflow import builtin
from train.log import LOG

ALPHA = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Widths for which weights are published: Sandler et al. 2018 and Keras's table."""
BLOCKS = 19
"""Of MobileNetV2: the first convolution, seventeen inverted residuals, the last convolution."""
SMALLEST = 32
"""Pixels of a side; MobileNetV2 halves its input five times."""
HEAD: Final = "head"
ALL: Final = "all"
TrainLayers = Literal["head", "all"] | int


def _train_layers() -> Hyperparameter:
    def parse(text: str) -> str | int:
        if text.lower() in (HEAD, ALL):
            return text.lower()
        value = float(text)
        if value != int(value) or not 1 <= value <= BLOCKS:
            raise ValueError
        return int(value)

    return Hyperparameter(
        "train_layers", parse, f"head, all, or how many of the {BLOCKS} blocks below the head, from the top", None
    )


def _alpha() -> Hyperparameter:
    def parse(text: str) -> float:
        if float(text) not in ALPHA:
            raise ValueError
        return float(text)

    return Hyperparameter("alpha", parse, "one of " + ", ".join(map(str, ALPHA)), 1.0)


def _degrees(name: str, default: float) -> Hyperparameter:
    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value <= 180:
            raise ValueError
        return value

    return Hyperparameter(name, parse, "degrees from 0 to 180", default)


_FILLED = ": an epoch has as many batches as the data fills"
TABLE: tuple[Hyperparameter, ...] = (
    integer("num_classes", None, 2),
    integer("num_training_samples", None, 1),
    integer("resize", None, 1),
    shape("image_shape", (3, 128, 128)),
    _alpha(),
    real("dropout", 0.5, without=(1,)),
    _train_layers(),
    flag("use_pretrained_model", False),
    integer("epochs", 30, 1),
    integer("mini_batch_size", None, 1),
    integer("batch_size", None, 1),
    choice("optimizer", "adam", ("sgd", "adam", "rmsprop", "nag", "nesterov")),
    real("learning_rate", 0.001),
    real("lr_scheduler_factor", 0.1),
    steps("lr_scheduler_step"),
    real("momentum", 0.9),
    real("weight_decay", 0.0001),
    real("beta_1", 0.9, without=(1,)),  # Adam divides by 1 - beta
    real("beta_2", 0.999, without=(1,)),
    real("eps", 1e-7, without=(0,)),  # dead channels have no gradient, and 0 / 0 is no number
    real("gamma", 0.9),
    flag("horizontal_flip", True),
    real("zoom_range", 0.2, without=(1,)),
    _degrees("rotation_range", 20.0),
    flag("use_weighted_loss", False),
    integer("top_k", None, 2),
    *early_stopping(10, 5),
    real("validation_split", 0.2, without=(0, 1)),
    choice("inference_resize", "crop", ("crop", "stretch")),
    real("unreadable_tolerance", 0.05),
    integer("seed", 0, 0, 2**31 - 1),
    # What scripts of the seed's kind take and this program finds out for itself, and what the SDK adds.
    ignored("steps", _FILLED),
    ignored("val_steps", _FILLED),
    ignored("model_dir"),
    *builtin.ROWS,
)
_BATCH = 32


def check(raw: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked hyperparameters, without those that are ignored; raises UserError.

    None stays None where the data says it: num_classes, num_training_samples.
    """
    values = resolve(raw, TABLE)
    builtin.translate(values, given(raw))
    _, height, width = values["image_shape"]
    if min(height, width) < SMALLEST:
        raise UserError(
            f"hyperparameter image_shape={values['image_shape']} is too small: MobileNetV2 takes sides of at least "
            f"{SMALLEST} pixels"
        )
    classifier.check(values)
    values["resize"] = values["resize"] or min(height, width)
    values["mini_batch_size"] = _batch_size(values["mini_batch_size"], values.pop("batch_size"))
    if values["train_layers"] is None:
        values["train_layers"] = HEAD if values["use_pretrained_model"] else ALL
    elif values["train_layers"] == BLOCKS:
        values["train_layers"] = ALL
    return values


def _batch_size(ours: int | None, keras: int | None) -> int:
    if ours and keras and ours != keras:
        raise UserError(
            f"hyperparameters mini_batch_size={ours} and batch_size={keras} are two names of one thing: set one of them"
        )
    return ours or keras or _BATCH


def say(values: Mapping[str, Any]) -> None:
    """Print the parameters, and a line for what will not learn as its name says."""
    classifier.say(values)
    if values["train_layers"] != ALL and not values["use_pretrained_model"]:
        LOG.warning(
            "train_layers=%s without use_pretrained_model=1: the layers below keep random weights, which tell photos "
            "apart badly; set train_layers=all",
            values["train_layers"],
        )
