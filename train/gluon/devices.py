"""The devices that an MXNet job computes on: how they share a network and each batch."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import mxnet as mx
import numpy as np
from mxnet import gluon
from numpy.typing import NDArray

from train.job import devices
from train.job.devices import Build, Device
from train.weights.native import STATISTICS

# MXNet 1.9.1 for CUDA 11.2 holds code for compute capability 5.0, 6.0, 7.0, 8.0 and 8.6, which runs on any later one
# with the same first digit, and none that a driver could translate for others.
_MAJORS = range(5, 9)
# cudaMalloc's words, and those of cuDNN and cuBLAS.
_FULL = re.compile(r"out of memory|STATUS_ALLOC_FAILED")


class Devices:
    """Where a job trains: `contexts` share each batch."""

    def __init__(self, chosen: Sequence[Device], mini_batch_size: int) -> None:
        self.contexts = [mx.Context(device.kind, device.number) for device in chosen]
        self._size = mini_batch_size

    @property
    def on_gpus(self) -> bool:
        """Whether they are GPUs."""
        return self.contexts[0].device_type == "gpu"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let MXNet's default be the first of them. Raises UserError when a GPU's memory does not suffice."""
        with mx.Context(self.contexts[0]):
            try:
                yield
            except mx.MXNetError as error:
                if _FULL.search(str(error)):
                    raise devices.out_of_memory(self._size, len(self.contexts), str(error)) from error
                raise

    def place(self, net: gluon.Block) -> None:
        """Move the parameters to the devices: each gets a copy."""
        with self.used():
            place(net, self.contexts)


def choose(environ: Mapping[str, str], mini_batch_size: int) -> Devices:
    """Return the devices of a job. Raises UserError for VISION_DEVICES that cannot be had."""
    build = Build("MXNet", mx.runtime.Features().is_enabled("CUDA"), mx.context.num_gpus(), _MAJORS)
    return Devices(devices.choose(environ, build, mini_batch_size), mini_batch_size)


def contexts_of(net: gluon.Block) -> list[mx.Context]:
    """Return the contexts that a network's parameters are on, the first one first."""
    return next(iter(net.collect_params().values())).list_ctx()


def place(net: gluon.Block, contexts: list[mx.Context]) -> None:
    """Move the parameters to these contexts, each a copy; of several copies that differ, their mean."""
    for parameter in net.collect_params().values():
        if parameter.list_ctx() != contexts:
            parameter.reset_ctx(contexts)


def split(batch: NDArray[np.float32] | NDArray[np.int64], contexts: Sequence[mx.Context]) -> list[mx.nd.NDArray]:
    """Return a batch (N, ...) as float32, a part of about the same size on each context; N is at least as many."""
    parts = np.array_split(batch, len(contexts)) if len(contexts) > 1 else [batch]
    return [mx.nd.array(part, ctx=context, dtype=np.float32) for part, context in zip(parts, contexts, strict=True)]


def average_statistics(net: gluon.Block) -> None:
    """Set BatchNorm's statistics, of which each device has its own, to their mean, as MXNet's Module does."""
    if len(contexts_of(net)) == 1:
        return
    # The backward pass changes them, behind the back of MXNet's engine: reading them does not wait for it.
    mx.nd.waitall()
    for parameter in statistics(net):
        parameter.set_data(parameter._reduce())


def statistics(net: gluon.Block) -> list[gluon.Parameter]:
    """Return the running means and variances of BatchNorm."""
    return [parameter for name, parameter in net.collect_params().items() if name.endswith(STATISTICS)]
