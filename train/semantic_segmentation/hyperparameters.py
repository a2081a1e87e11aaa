"""The hyperparameters of semantic-segmentation: the built-in's table, then our own additions."""

from collections.abc import Mapping
from typing import Any

from serve.artifact import SIDE_STEP
from train.errors import UserError
from train.hyperparameters import (
    REQUIRED,
    Hyperparameter,
    choice,
    early_stopping,
    flag,
    integer,
    real,
    resolve,
    steps,
    warn_of_late_steps,
)
from train.log import LOG

TABLE: tuple[Hyperparameter, ...] = (
    integer("num_classes", REQUIRED, 2, 254),
    integer("num_training_samples", REQUIRED, 1),
    choice("backbone", "resnet-50", ("resnet-50", "resnet-101", "resnet-18")),  # resnet-18 is ours
    choice("algorithm", "fcn", ("fcn", "psp", "deeplab")),
    flag("use_pretrained_model", True),
    integer("base_size", 520, 17, 2048),
    integer("crop_size", 240, 17, 2048),
    integer("epochs", 10, 1),
    integer("mini_batch_size", 16, 1),
    integer("validation_mini_batch_size", 16, 1),
    choice("optimizer", "sgd", ("sgd", "adam", "adagrad", "nag", "rmsprop", "adadelta")),
    real("learning_rate", 0.001, without=(0,)),
    choice("lr_scheduler", "poly", ("poly", "cosine", "step")),
    real("lr_scheduler_factor", 0.1),
    steps("lr_scheduler_step"),
    # The built-in refuses a momentum of 0, and a weight_decay of 0 and 1; notebooks send 0 for "none".
    real("momentum", 0.9),
    real("weight_decay", 0.0001),
    real("gamma1", 0.9),
    real("gamma2", 0.9),
    flag("syncbn", False),
    *early_stopping(5, 4),
    choice("precision_dtype", "float32", ("float32", "float16")),
    # Ours: the built-in has no such hyperparameters.
    integer("inference_size", None, 17, 2048),  # of base_size, unless given
    real("unreadable_tolerance", 0.05),
    integer("seed", 0, 0, 2**31 - 1),
)


def check(raw: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked hyperparameters; `crop_size`, as the built-in rounds it, and `inference_size` in steps of 8.

    Raises UserError, also for values that do not go together.
    """
    values = resolve(raw, TABLE)
    if values["lr_scheduler"] == "step" and not values["lr_scheduler_step"]:
        raise UserError(
            "hyperparameter lr_scheduler_step is required with lr_scheduler=step: set it to the epochs after which the "
            "learning rate falls, such as 10,20"
        )
    inference_size = values["inference_size"] or values["base_size"]
    return values | {"crop_size": _rounded(values["crop_size"]), "inference_size": _rounded(inference_size)}


def _rounded(size: int) -> int:
    """Return `size` rounded up to a multiple of SIDE_STEP pixels."""
    return -(-size // SIDE_STEP) * SIDE_STEP


def say(values: Mapping[str, Any]) -> None:
    """Print the configuration, and a line for each that does less here than its name says."""
    LOG.info("Final configuration: %s", dict(values))
    if values["syncbn"]:
        LOG.info("syncbn=True changes nothing: it is about several GPUs, and this image trains on one CPU")
    if values["lr_scheduler"] == "step":
        warn_of_late_steps(values)
    if values["lr_scheduler_step"] and values["lr_scheduler"] != "step":
        LOG.warning(
            "lr_scheduler_step=%s is ignored: lr_scheduler is %s, not step",
            *(",".join(map(str, values["lr_scheduler_step"])), values["lr_scheduler"]),
        )
    if values["precision_dtype"] == "float16":
        LOG.warning(
            "precision_dtype=float16 is computed as float32: this image trains on the CPU, where float16 is slower"
        )
