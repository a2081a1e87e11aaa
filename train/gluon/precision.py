"""Mixed precision with MXNet's AMP: convolutions in float16, sums and weights in float32, and a scaled loss."""

import mxnet as mx
from mxnet import gluon
from mxnet.contrib import amp
from mxnet.contrib.amp.loss_scaler import LossScaler

from train.gluon.devices import Devices
from train.log import LOG

HALF = "float16"
_INPUT = "data"


def is_half(precision_dtype: str, devices: Devices) -> bool:
    """Return whether to compute in float16, which the CPU does not support, and log the decision."""
    if precision_dtype != HALF:
        return False
    if devices.on_gpus:
        LOG.info("precision_dtype=float16: mixed precision, with a scaled loss")
    else:
        LOG.warning("precision_dtype=float16 is ignored: the CPU does not support float16, so float32 is used")
    return devices.on_gpus


def to_float16(net: gluon.HybridBlock) -> gluon.SymbolBlock:
    """Return a network that computes in float16 where AMP's lists allow it, with float32 outputs.

    It shares its float32 parameters with `net`, which is unchanged, for evaluation, export and the final checks.
    (amp.init would replace MXNet's operators in the whole process, and therefore also in the exported graph.)
    """
    data = mx.sym.var(_INPUT)
    outputs = net(data)
    symbol = mx.sym.Group(list(outputs)) if isinstance(outputs, list | tuple) else outputs
    low = amp.convert_symbol(symbol, target_dtype=HALF, data_names=[_INPUT])
    outputs = mx.sym.Group([mx.sym.amp_cast(output, dtype="float32") for output in low])
    block = gluon.SymbolBlock(outputs, [data], params=net.collect_params())
    block.hybridize(static_alloc=True, static_shape=True)
    return block


def scale(trainer: gluon.Trainer) -> None:
    """Make a trainer expect the gradients of a scaled loss, and skip updates whose gradients overflow."""
    # The same as amp.init_trainer, which would require amp.init.
    trainer._amp_loss_scaler, trainer._amp_original_scale = LossScaler(), trainer._scale
