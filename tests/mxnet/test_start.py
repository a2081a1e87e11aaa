"""A network's first weights."""

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from train.gluon.start import start


def started() -> mx.gluon.Block:
    """Two convolutions whose weights oneDNN keeps in a layout of its own."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(256, 3, padding=1), nn.Conv2D(256, 3, padding=1))
    start(net, seed=0, channels=3, side=32)
    return net


def test_weights_do_not_change_once_the_network_has_started() -> None:
    """Without waiting for oneDNN about half of the networks change, or fail, while they are read."""
    for _ in range(20):
        weight = started()[1].weight.data()
        first = weight.asnumpy()
        assert all(np.array_equal(weight.asnumpy(), first) for _ in range(10))


def test_a_seed_repeats_the_first_weights() -> None:
    assert np.array_equal(started()[1].weight.data().asnumpy(), started()[1].weight.data().asnumpy())
