"""Learning-rate schedules and the trainer of the MXNet algorithms, by the built-ins' hyperparameter names."""

from typing import Any

import mxnet as mx
from mxnet import gluon


def step_schedule(hp: dict[str, Any], updates: int | None = None) -> mx.lr_scheduler.LRScheduler | None:
    """Return the schedule of `lr_scheduler_step` and `lr_scheduler_factor`, or None without steps.

    An epoch is `updates` updates; None means ceil(num_training_samples / mini_batch_size), as the built-ins count it.
    """
    if not hp["lr_scheduler_step"]:
        return None
    if updates is None:
        updates = -(-hp["num_training_samples"] // hp["mini_batch_size"])
    steps = [epoch * updates for epoch in hp["lr_scheduler_step"]]
    return mx.lr_scheduler.MultiFactorScheduler(steps, factor=hp["lr_scheduler_factor"], base_lr=hp["learning_rate"])


def trainer(net: gluon.Block, optimizer: mx.optimizer.Optimizer) -> gluon.Trainer:
    """Return the trainer of all parameters of `net`; only kernels decay: BatchNorm's shifts and scales must not."""
    for name, parameter in net.collect_params().items():
        if not name.endswith("_weight"):
            parameter.wd_mult = 0.0
    return gluon.Trainer(net.collect_params(), optimizer, kvstore=None)
