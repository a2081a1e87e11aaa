"""How every MXNet network starts: He et al.'s weights, drawn from the job's seed."""

import mxnet as mx
from mxnet import gluon


def start(net: gluon.Block, seed: int, channels: int, side: int) -> None:
    """Give every layer of `net` its shape and its first weights.

    One float32 (1, channels, side, side) of zeros goes through it: only then do the layers know their shapes.
    Convolutions start as He et al. 2015 advise for ReLU networks, unless a parameter has an `init` of its own.
    """
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu(slope=0.0))
    net(mx.nd.zeros((1, channels, side, side)))
    # That pass also moves the weights into oneDNN's layout, in the background: until that is done, reading them gives
    # the bytes of two layouts, or an error.
    mx.nd.waitall()
