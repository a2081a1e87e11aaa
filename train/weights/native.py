"""Write and read native MXNet weights, and hyperparameters in SageMaker's format."""

import errno
from pathlib import Path
from typing import Any

import mxnet as mx
from mxnet import gluon

STATISTICS = ("running_mean", "running_var")
"""The suffixes of the names of BatchNorm's statistics."""


def parameters(net: gluon.Block) -> dict[str, mx.nd.NDArray]:
    """Return the network's arrays by `arg:NAME` and `aux:NAME`, as in MXNet's checkpoints.

    They are on the CPU, because a file stores each array's device and can only be read on a machine that has it.
    """
    return {
        f"{'aux' if name.endswith(STATISTICS) else 'arg'}:{name}": parameter.list_data()[0].as_in_context(mx.cpu())
        for name, parameter in net.collect_params().items()
    }


def write_parameters(net: gluon.Block, path: Path) -> None:
    """Write the network's arrays to a .params file. Raises OSError if that fails."""
    try:
        mx.nd.save(str(path), parameters(net))
    except mx.MXNetError as error:  # MXNet does not raise OSError, for example if the disk is full
        raise OSError(errno.EIO, str(error).strip().splitlines()[-1]) from error


def read_parameters(net: gluon.Block, path: Path) -> None:
    """Load the network's arrays from a file that `write_parameters` wrote."""
    network_parameters = net.collect_params()
    for name, value in mx.nd.load(str(path)).items():
        network_parameters[name.split(":", 1)[1]].set_data(value)


def as_strings(hp: dict[str, Any]) -> dict[str, str]:
    """Return hyperparameters in SageMaker's format: strings, with steps as `10,20`, without values that are not set."""
    strings = {}
    for name, value in hp.items():
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        elif isinstance(value, bool):
            value = int(value)
        if value is not None and value != "":
            strings[name] = str(value)
    return strings
