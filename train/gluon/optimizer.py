"""Optimizers, learning-rate schedules and the Gluon trainer of the MXNet algorithms."""

from typing import Any

import mxnet as mx
from mxnet import gluon

from train.hyperparameter_types import CommonHyperparameters


class Nag(mx.optimizer.NAG):
    """Nesterov momentum, computed with sgd's operator.

    The results of MXNet's own operator, nag_mom_update, vary between runs with the same seed unless the gradients have
    been read, because it does not support oneDNN's internal layouts of the gradients. With v' = m v - r g, sgd
    computes w + v', and Nesterov's step is w + m v' - r g, which equals (w + v') + m (v' - v).
    """

    def _update_impl(self, index: int, weight: Any, grad: Any, state: Any, multi_precision: bool = False) -> None:
        if state is None:  # without momentum, this is sgd
            super()._update_impl(index, weight, grad, state, multi_precision)
            return
        self._update_count(index)
        before = state.copy()
        options = {"momentum": self.momentum, "rescale_grad": self.rescale_grad}
        if self.clip_gradient:
            options["clip_gradient"] = self.clip_gradient
        rate, decay = self._get_lr(index), self._get_wd(index)
        mx.nd.sgd_mom_update(weight, grad, state, out=weight, lr=rate, wd=decay, **options)
        weight += self.momentum * (state - before)


def create(name: str, **options: Any) -> mx.optimizer.Optimizer:
    """Return MXNet's optimizer of that name, or `Nag` for nag."""
    return Nag(**options) if name == "nag" else mx.optimizer.create(name, **options)


def step_schedule(hp: CommonHyperparameters, updates: int) -> mx.lr_scheduler.LRScheduler | None:
    """Return the learning-rate schedule for epochs of `updates` updates, or None if there are no steps."""
    if not hp.lr_scheduler_step:
        return None
    steps = [epoch * updates for epoch in hp.lr_scheduler_step]
    return mx.lr_scheduler.MultiFactorScheduler(steps, factor=hp.lr_scheduler_factor, base_lr=hp.learning_rate)


def updates(samples: int, size: int, hosts: int) -> int:
    """Return the number of updates per epoch, as the built-ins count them, for batches of `size` on each host."""
    return -(-samples // (size * hosts))


def trainer(net: gluon.Block, optimizer: mx.optimizer.Optimizer) -> gluon.Trainer:
    """Return a trainer for all parameters of `net`, with weight decay only for kernels, not for BatchNorm and biases.

    With several devices, gradients are summed across the devices, and each device updates its copy.
    """
    for name, parameter in net.collect_params().items():
        if not name.endswith("_weight"):
            parameter.wd_mult = 0.0
    # With kvstore=None, several devices would not exchange gradients and silently diverge. A single device ignores it.
    gluon_trainer = gluon.Trainer(net.collect_params(), optimizer, kvstore="device", update_on_kvstore=False)
    # Otherwise the first update would do this, and overwrite the BatchNorm statistics of the first forward pass.
    gluon_trainer._init_kvstore()
    gluon_trainer._init_params()
    return gluon_trainer
