"""The hyperparameters of image-classification: the built-in's table, then our own additions."""

from collections.abc import Mapping
from typing import Any

from train import classifier
from train.errors import UserError
from train.hyperparameters import (
    REQUIRED,
    Hyperparameter,
    choice,
    early_stopping,
    flag,
    ignored,
    integer,
    kv_store,
    real,
    resolve,
    shape,
    steps,
)
from train.log import LOG

NUM_LAYERS = (18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110)

TABLE: tuple[Hyperparameter, ...] = (
    integer("num_classes", REQUIRED, 1),
    integer("num_training_samples", REQUIRED, 1),
    integer("resize", None, 1),
    choice("num_layers", 152, NUM_LAYERS),
    shape("image_shape", (3, 224, 224)),
    flag("use_pretrained_model", False),
    integer("epochs", 30, 1),
    integer("mini_batch_size", 32, 1),
    choice("optimizer", "sgd", ("sgd", "adam", "rmsprop", "nag")),
    real("learning_rate", 0.1),
    real("lr_scheduler_factor", 0.1),
    steps("lr_scheduler_step"),
    real("momentum", 0.9),
    real("weight_decay", 0.0001),
    real("beta_1", 0.9, without=(1,)),  # Adam divides by 1 - beta
    real("beta_2", 0.999, without=(1,)),
    real("eps", 1e-8),
    real("gamma", 0.9),
    choice("augmentation_type", None, ("crop", "crop_color", "crop_color_transform")),
    flag("multi_label", False),
    flag("use_weighted_loss", False),
    choice("precision_dtype", "float32", ("float32", "float16")),
    integer("top_k", None, 2),
    integer("checkpoint_frequency", None, 1),
    *early_stopping(10, 5),
    kv_store(),
    ignored("use_lr_scheduler", ", as the built-in ignores it: lr_scheduler_step alone says when the rate falls"),
    # Ours: the built-in has no such hyperparameters.
    choice("inference_resize", "crop", ("crop", "stretch")),
    real("unreadable_tolerance", 0.05),
    integer("seed", 0, 0, 2**31 - 1),
)


def check(raw: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked hyperparameters; raises UserError, also for values that do not go together."""
    values = resolve(raw, TABLE)
    classifier.check(values)
    if values["top_k"] and values["multi_label"]:
        raise UserError(
            "hyperparameter top_k has no meaning with multi_label=1, where a sample has several "
            "labels: remove one of the two"
        )
    return values


def say(values: Mapping[str, Any]) -> None:
    """Print the parameters, and a line for each that does less here than its name says."""
    classifier.say(values)
    if values["use_weighted_loss"] and not values["multi_label"]:
        LOG.warning("use_weighted_loss=1 is ignored: it weighs the labels of multi_label=1, which is not set")
    if values["checkpoint_frequency"] and values["checkpoint_frequency"] > values["epochs"]:
        LOG.warning(
            "checkpoint_frequency=%d is above epochs=%d: only the best epoch is kept",
            *(values["checkpoint_frequency"], values["epochs"]),
        )
    if values["precision_dtype"] == "float16":
        LOG.warning(
            "precision_dtype=float16 is computed as float32: this image trains on the CPU, where float16 is slower"
        )
    if values["kv_store"]:
        LOG.info("kv_store=%s is not used: the job has one host", values["kv_store"])
