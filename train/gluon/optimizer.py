"""Optimizers, learning-rate schedules and the trainer of the MXNet algorithms, by the built-ins' names."""

from typing import Any

import mxnet as mx
from mxnet import gluon

from train.hyperparameter_types import CommonHyperparameters


class Nag(mx.optimizer.NAG):
    """Nesterov momentum, computed by the operator of sgd.

    MXNet's own operator, nag_mom_update, gives other results in each run of a job with the same seed, unless gradients
    have been read before: oneDNN keeps them in layouts of its own, which that operator does not know. With
    v' = m v - r g, sgd makes w + v' where Nesterov's step is w + m v' - r g, which is (w + v') + m (v' - v).
    """

    def _update_impl(self, index: int, weight: Any, grad: Any, state: Any, multi_precision: bool = False) -> None:
        if state is None:  # without momentum it is sgd
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
    """Return MXNet's optimizer of that name, for nag our own."""
    return Nag(**options) if name == "nag" else mx.optimizer.create(name, **options)


def step_schedule(hp: CommonHyperparameters, updates: int) -> mx.lr_scheduler.LRScheduler | None:
    """Return the schedule of `lr_scheduler_step` for epochs of `updates` updates, or None without steps."""
    if not hp.lr_scheduler_step:
        return None
    steps = [epoch * updates for epoch in hp.lr_scheduler_step]
    return mx.lr_scheduler.MultiFactorScheduler(steps, factor=hp.lr_scheduler_factor, base_lr=hp.learning_rate)


def updates(samples: int, size: int, hosts: int) -> int:
    """Return the updates of an epoch of `samples` by batches of `size` on each host, as the built-ins count them."""
    return -(-samples // (size * hosts))


def trainer(net: gluon.Block, optimizer: mx.optimizer.Optimizer) -> gluon.Trainer:
    """Return the trainer of all parameters of `net`; only kernels decay: BatchNorm's shifts and scales must not.

    Where several devices have copies of them, gradients are summed over the devices, and each updates its own copy.
    """
    for name, parameter in net.collect_params().items():
        if not name.endswith("_weight"):
            parameter.wd_mult = 0.0
    # With kvstore=None the devices would not exchange gradients and drift apart in silence; one device has none anyway.
    made = gluon.Trainer(net.collect_params(), optimizer, kvstore="device", update_on_kvstore=False)
    # Otherwise in the first update, where it undoes what that update has done to BatchNorm's statistics.
    made._init_kvstore()
    made._init_params()
    return made
