"""Initialise the weights of MXNet networks as He et al. recommend, with the job's seed."""

import mxnet as mx
from mxnet import gluon


def start(net: gluon.Block, seed: int, channels: int, side: int) -> None:
    """Initialise the shapes and weights of all layers of `net`.

    A forward pass of zeros, float32 (1, channels, side, side), lets the layers infer their shapes. Convolutions are
    initialised as He et al. 2015 recommend for ReLU networks, unless a parameter has its own `init`.
    """
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu(slope=0.0))
    net(mx.nd.zeros((1, channels, side, side)))
    # The forward pass also converts the weights to oneDNN's layout in the background. Reading them before that is done
    # returns a mix of both layouts, or fails.
    mx.nd.waitall()
