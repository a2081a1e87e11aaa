"""The hyperparameters of object-detection: the built-in's table, then our own additions."""

import re
from collections.abc import Mapping
from typing import Any

from serve.artifact import MAX_TOP_K
from train.errors import UserError
from train.hyperparameters import (
    REQUIRED,
    Hyperparameter,
    choice,
    early_stopping,
    flag,
    integer,
    kv_store,
    pattern,
    real,
    resolve,
    steps,
    warn_of_late_steps,
)
from train.log import LOG

# The built-in takes 300 and more; smaller pictures are ours, for CPUs and small jobs.
BUILT_IN_SMALLEST, SMALLEST = 300, 64
# A label: header width and object width, then class, xmin, ymin, xmax, ymax for each object.
LABEL_HEADER, LABEL_OBJECT = 2, 5

TABLE: tuple[Hyperparameter, ...] = (
    integer("num_classes", REQUIRED, 1),
    integer("num_training_samples", REQUIRED, 1),
    choice("base_network", "vgg-16", ("vgg-16", "resnet-50", "resnet-18")),  # resnet-18 is ours
    flag("use_pretrained_model", True),
    integer("image_shape", BUILT_IN_SMALLEST, SMALLEST, 1024),
    integer("epochs", 30, 1),
    integer("mini_batch_size", 32, 1),
    choice("optimizer", "sgd", ("sgd", "adam", "rmsprop", "adadelta")),
    real("learning_rate", 0.001, without=(0,)),
    real("lr_scheduler_factor", 0.1, without=(0, 1)),
    steps("lr_scheduler_step"),
    # The built-in refuses a momentum of 0 and a weight_decay of 0 and 1; notebooks send 0 for "none".
    real("momentum", 0.9),
    real("weight_decay", 0.0005),
    real("overlap_threshold", 0.5),
    real("nms_threshold", 0.45),
    integer("nms_topk", 400, 1, MAX_TOP_K),
    integer("label_width", 350, LABEL_HEADER + LABEL_OBJECT),
    pattern("freeze_layer_pattern"),
    *early_stopping(10, 5),
    kv_store(),
    # Ours: the built-in has no such hyperparameters.
    real("unreadable_tolerance", 0.05),
    integer("seed", 0, 0, 2**31 - 1),
)


def check(raw: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked hyperparameters. Raises UserError."""
    values = resolve(raw, TABLE)
    for name in ("overlap_threshold", "nms_threshold"):
        if values[name] == 0:
            raise UserError(f"hyperparameter {name}=0 would match boxes that do not touch: set it above 0, up to 1")
    return values


def say(values: Mapping[str, Any]) -> None:
    """Print the configuration, and a line for each that does less here than its name says."""
    LOG.info("Final configuration: %s", dict(values))
    warn_of_late_steps(values)
    if values["image_shape"] < BUILT_IN_SMALLEST:
        LOG.warning(
            "image_shape=%d is smaller than the built-in's least, %d: fast, and small objects will be missed",
            values["image_shape"],
            BUILT_IN_SMALLEST,
        )
    if values["kv_store"]:
        LOG.info("kv_store=%s is not used: the job has one host", values["kv_store"])


def max_objects(values: Mapping[str, Any]) -> int:
    """Return how many objects of one picture `label_width` has room for."""
    return (values["label_width"] - LABEL_HEADER) // LABEL_OBJECT


def matches(values: Mapping[str, Any], name: str) -> bool:
    """Return whether `freeze_layer_pattern` matches a parameter's name from its beginning, as MXNet's trainer does."""
    return bool(values["freeze_layer_pattern"]) and re.match(values["freeze_layer_pattern"], name) is not None
