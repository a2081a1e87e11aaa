"""Tests of what trains with MXNet. They share a process, so that MXNet is imported once."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random numbers, whichever ran before."""
    import mxnet as mx

    np.random.seed(1)
    mx.random.seed(1)
