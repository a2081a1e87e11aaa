"""The devices of an MXNet job, and how a network and its batches are distributed across them."""

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

# MXNet 1.9.1 for CUDA 11.2 has machine code for compute capability 5.0, 6.0, 7.0, 8.0 and 8.6. It also runs on higher
# minor versions of these. MXNet has no PTX code, which a driver could compile for other major versions.
_MAJORS = range(5, 9)
# The messages of cudaMalloc, and of cuDNN and cuBLAS.
_OUT_OF_MEMORY = re.compile(r"out of memory|STATUS_ALLOC_FAILED")


class Devices:
    """The devices of a job. Each batch is split across their `contexts`."""

    def __init__(self, chosen: Sequence[Device], mini_batch_size: int) -> None:
        self.contexts = [mx.Context(device.kind, device.number) for device in chosen]
        self._size = mini_batch_size

    @property
    def on_gpus(self) -> bool:
        """Whether the devices are GPUs."""
        return self.contexts[0].device_type == "gpu"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Make the first device MXNet's default in the block. Raises UserError if a GPU runs out of memory."""
        with mx.Context(self.contexts[0]):
            try:
                yield
            except mx.MXNetError as error:
                if _OUT_OF_MEMORY.search(str(error)):
                    raise devices.out_of_memory(self._size, len(self.contexts), str(error)) from error
                raise

    def place(self, net: gluon.Block) -> None:
        """Copy the parameters to each of the devices."""
        with self.used():
            place(net, self.contexts)


def choose(environ: Mapping[str, str], mini_batch_size: int) -> Devices:
    """Return the devices of a job. Raises UserError if VISION_DEVICES is invalid or not available."""
    build = Build("MXNet", mx.runtime.Features().is_enabled("CUDA"), mx.context.num_gpus(), _MAJORS)
    return Devices(devices.choose(environ, build, mini_batch_size), mini_batch_size)


def contexts_of(net: gluon.Block) -> list[mx.Context]:
    """Return the contexts of a network's parameters, in order."""
    return next(iter(net.collect_params().values())).list_ctx()


def place(net: gluon.Block, contexts: list[mx.Context]) -> None:
    """Move the parameters to these contexts, with a copy on each. If existing copies differ, use their mean."""
    for parameter in net.collect_params().values():
        if parameter.list_ctx() != contexts:
            parameter.reset_ctx(contexts)


def split(batch: NDArray[np.float32] | NDArray[np.int64], contexts: Sequence[mx.Context]) -> list[mx.nd.NDArray]:
    """Split a batch (N, ...) into float32 parts of nearly equal size, one for each of at most N contexts."""
    parts = np.array_split(batch, len(contexts)) if len(contexts) > 1 else [batch]
    return [mx.nd.array(part, ctx=context, dtype=np.float32) for part, context in zip(parts, contexts, strict=True)]


def average_statistics(net: gluon.Block) -> None:
    """Average BatchNorm's statistics, which differ between devices, as MXNet's Module does."""
    if len(contexts_of(net)) == 1:
        return
    # The backward pass updates them without MXNet's engine knowing, so reading them would not wait for it.
    mx.nd.waitall()
    for parameter in statistics(net):
        parameter.set_data(parameter._reduce())


def statistics(net: gluon.Block) -> list[gluon.Parameter]:
    """Return the parameters that are BatchNorm's running means and variances."""
    return [parameter for name, parameter in net.collect_params().items() if name.endswith(STATISTICS)]
