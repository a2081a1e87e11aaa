"""What the MXNet algorithms share of the model folder: the native weights, and the versions in model.json."""

import errno
from pathlib import Path
from typing import Any

import mxnet as mx
from mxnet import gluon

STATISTICS = ("running_mean", "running_var")
"""How the names of BatchNorm's statistics end."""


def parameters(net: gluon.Block) -> dict[str, mx.nd.NDArray]:
    """Return the network's arrays by `arg:NAME` and `aux:NAME`, as MXNet's checkpoints name them, on the CPU.

    A file of them names the device that each is on, and could be read only where there is one.
    """
    return {
        f"{'aux' if name.endswith(STATISTICS) else 'arg'}:{name}": parameter.list_data()[0].as_in_context(mx.cpu())
        for name, parameter in net.collect_params().items()
    }


def write_parameters(net: gluon.Block, path: Path) -> None:
    """Write the network's arrays as a .params file. Raises OSError when that fails."""
    try:
        mx.nd.save(str(path), parameters(net))
    except mx.MXNetError as error:  # MXNet's own file streams raise no OSError when the disk is full
        raise OSError(errno.EIO, str(error).strip().splitlines()[-1]) from error


def read_parameters(net: gluon.Block, path: Path) -> None:
    """Set the network's arrays from a file that `write_parameters` made."""
    wanted = net.collect_params()
    for name, value in mx.nd.load(str(path)).items():
        wanted[name.split(":", 1)[1]].set_data(value)


def as_texts(hp: dict[str, Any]) -> dict[str, str]:
    """Return checked hyperparameters as SageMaker passes them: texts, steps as `10,20`, without what is not set."""
    texts = {}
    for name, value in hp.items():
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        elif isinstance(value, bool):
            value = int(value)
        if value is not None and value != "":
            texts[name] = str(value)
    return texts
