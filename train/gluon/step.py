"""What the steps of the MXNet algorithms share: random numbers, the learning rate, the state."""

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
    """Updates all parameters of `net`, on several hosts by the mean of their gradients, which `exchange` makes.

    `_contexts` are those that the parameters are on. Each computes its part of a batch, as `devices.split` makes them.
    With `half` the losses are scaled, as gradients in float16 need it: see `precision`.
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
        """The rate of the next update."""
        return self._trainer.learning_rate

    def begin(self, epoch: int) -> None:
        """Seed MXNet's generator, whose state cannot be read, from the job's seed and the epoch."""
        mx.random.seed(zlib.crc32(f"{self._seed} {epoch}".encode()))

    def end(self) -> None:
        """Let all devices of all hosts have the same statistics of BatchNorm."""
        devices.average_statistics(self._net)
        statistics = devices.statistics(self._net)
        if statistics and self._exchange.hosts > 1:
            mx.nd.waitall()  # as for the devices
            self._exchange.average([parameter.list_data() for parameter in statistics])

    def _backward(self, losses: Sequence[mx.nd.NDArray], weights: Sequence[mx.nd.NDArray] | None = None) -> None:
        """Compute the gradients of the devices' losses, of which each counts 1 or as much as `weights` say."""
        if not self._half:
            autograd.backward(losses, weights)
            return
        with autograd.record(), amp.scale_loss(losses, self._trainer) as scaled:
            autograd.backward(scaled, weights)

    def _update(self, count: int) -> None:
        """Update the parameters by their gradients, which are divided by `count`."""
        self._trainer.allreduce_grads()
        if self._exchange.hosts > 1:
            trained = [parameter for parameter in self._trainer._params if parameter.grad_req != "null"]
            self._exchange.average([parameter.list_grad() for parameter in trained])
        self._trainer.update(count)

    def state(self) -> State:
        """Return the parameters and the optimizer's arrays, by the parameters' structural names, and its updates."""
        arrays = self._trainer._updaters[0].states
        return {
            "parameters": {name: parameter.list_data()[0].asnumpy() for name, parameter, _ in self._parameters()},
            "optimizer": {name: _to_numpy(arrays[index]) for name, _, index in self._parameters() if index in arrays},
            "updates": self._trainer.optimizer.num_update,
        }

    def restore(self, state: State) -> None:
        """Go on from a state. Schedules are functions of the number of updates, so hyperparameters say the rate."""
        optimizer = self._trainer.optimizer
        for name, parameter, index in self._parameters():
            parameter.set_data(mx.nd.array(state["parameters"][name], dtype=state["parameters"][name].dtype))
            if name in state["optimizer"]:
                for updater, context in zip(self._trainer._updaters, self._contexts, strict=True):
                    updater.states[index] = _to_mxnet(state["optimizer"][name], context)
                    updater.states_synced[index] = True
        optimizer.begin_num_update = optimizer.num_update = state["updates"]

    def _parameters(self) -> list[tuple[str, gluon.Parameter, int]]:
        """Return name, parameter, and the trainer's index of all; other names count the networks of a process."""
        index = {parameter.name: number for number, parameter in enumerate(self._trainer._params)}
        found = self._net._collect_params_with_prefix()
        return [(name, parameter, index[parameter.name]) for name, parameter in found.items()]


def _to_numpy(arrays: Any) -> Any:
    """Return an optimizer's state of one parameter, which is None, an array or several, with NumPy's arrays."""
    if isinstance(arrays, tuple | list):
        return [_to_numpy(each) for each in arrays]
    return arrays if arrays is None else arrays.asnumpy()


def _to_mxnet(arrays: Any, context: mx.Context) -> Any:
    if isinstance(arrays, list):
        return tuple(_to_mxnet(each, context) for each in arrays)
    return arrays if arrays is None else mx.nd.array(arrays, ctx=context, dtype=arrays.dtype)
