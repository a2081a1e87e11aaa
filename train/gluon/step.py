"""The base class for the training steps of the MXNet algorithms."""

import zlib
from collections.abc import Sequence
from typing import Any

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.contrib import amp

from train.gluon import devices, precision
from train.gluon.hosts import ALONE, Exchange
from train.gluon.optimizer import trainer
from train.learner import B, R, Step
from train.state import State


class GluonStep(Step[B, R]):
    """Updates all parameters of `net`. On several hosts, `exchange` averages their gradients.

    `_contexts` are the contexts of the parameters. Each computes its part of a batch; see `devices.split`. With `half`,
    the losses are scaled for float16 gradients; see `precision`.
    """

    def __init__(
        self,
        net: gluon.Block,
        optimizer: mx.optimizer.Optimizer,
        seed: int,
        half: bool = False,
        exchange: Exchange = ALONE,
    ) -> None:
        self._net, self._seed, self._half, self._exchange = net, seed, half, exchange
        self._trainer = trainer(net, optimizer)
        if half:
            precision.scale(self._trainer)
        self._contexts = devices.contexts_of(net)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self._trainer.learning_rate

    def begin(self, epoch: int) -> None:
        """Seed MXNet's random generator with the job's seed and the epoch, because its state cannot be saved."""
        mx.random.seed(zlib.crc32(f"{self._seed} {epoch}".encode()))

    def end(self) -> None:
        """Average BatchNorm's statistics across all devices of all hosts."""
        devices.average_statistics(self._net)
        statistics = devices.statistics(self._net)
        if statistics and self._exchange.hosts > 1:
            mx.nd.waitall()  # see `devices.average_statistics`
            self._exchange.average([parameter.list_data() for parameter in statistics])

    def _backward(self, losses: Sequence[mx.nd.NDArray], weights: Sequence[mx.nd.NDArray] | None = None) -> None:
        """Compute the gradients of the devices' losses, weighted with `weights` or 1."""
        if not self._half:
            autograd.backward(losses, weights)
            return
        with autograd.record(), amp.scale_loss(losses, self._trainer) as scaled:
            autograd.backward(scaled, weights)

    def _update(self, count: int) -> None:
        """Update the parameters with their gradients divided by `count`."""
        self._trainer.allreduce_grads()
        if self._exchange.hosts > 1:
            trained = [parameter for parameter in self._trainer._params if parameter.grad_req != "null"]
            self._exchange.average([parameter.list_grad() for parameter in trained])
        self._trainer.update(count)

    def state(self) -> State:
        """Return the parameters and the optimizer's arrays, by structural parameter name, and the number of updates."""
        arrays = self._trainer._updaters[0].states
        return {
            "parameters": {name: parameter.list_data()[0].asnumpy() for name, parameter, _ in self._parameters()},
            "optimizer": {name: _to_numpy(arrays[index]) for name, _, index in self._parameters() if index in arrays},
            "updates": self._trainer.optimizer.num_update,
        }

    def restore(self, state: State) -> None:
        """Resume from a state. The learning rate follows from this job's schedule and the number of updates."""
        optimizer = self._trainer.optimizer
        for name, parameter, index in self._parameters():
            parameter.set_data(mx.nd.array(state["parameters"][name], dtype=state["parameters"][name].dtype))
            if name in state["optimizer"]:
                for updater, context in zip(self._trainer._updaters, self._contexts, strict=True):
                    updater.states[index] = _to_mxnet(state["optimizer"][name], context)
                    updater.states_synced[index] = True
        optimizer.begin_num_update = optimizer.num_update = state["updates"]

    def _parameters(self) -> list[tuple[str, gluon.Parameter, int]]:
        """Return each parameter with its structural name and its index in the trainer.

        Structural names are the same in every process; parameter.name depends on the networks created before.
        """
        index = {parameter.name: number for number, parameter in enumerate(self._trainer._params)}
        parameters = self._net._collect_params_with_prefix()
        return [(name, parameter, index[parameter.name]) for name, parameter in parameters.items()]


def _to_numpy(arrays: Any) -> Any:
    """Convert the optimizer's state of one parameter, which is None, an array or several arrays, to NumPy."""
    if isinstance(arrays, tuple | list):
        return [_to_numpy(array) for array in arrays]
    return arrays if arrays is None else arrays.asnumpy()


def _to_mxnet(arrays: Any, context: mx.Context) -> Any:
    if isinstance(arrays, list):
        return tuple(_to_mxnet(array, context) for array in arrays)
    return arrays if arrays is None else mx.nd.array(arrays, ctx=context, dtype=arrays.dtype)
