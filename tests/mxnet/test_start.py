"""The initial weights of a network."""

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from train.gluon.start import start


def initialized() -> mx.gluon.Block:
    """Return two initialized convolutions. oneDNN stores their weights in its own layout."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(256, 3, padding=1), nn.Conv2D(256, 3, padding=1))
    start(net, seed=0, channels=3, side=32)
    return net


def test_weights_do_not_change_after_initialization() -> None:
    """Without waiting for oneDNN, about half of the networks change or fail while they are read."""
    for _ in range(20):
        weight = initialized()[1].weight.data()
        first = weight.asnumpy()
        assert all(np.array_equal(weight.asnumpy(), first) for _ in range(10))


def test_the_same_seed_gives_the_same_initial_weights() -> None:
    assert np.array_equal(initialized()[1].weight.data().asnumpy(), initialized()[1].weight.data().asnumpy())
