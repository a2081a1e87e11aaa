"""Tests of what trains with MXNet. They share a process, so that MXNet is imported once."""

import os

import numpy as np
import pytest

# Before MXNet is imported: threads of two workers on two processors would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random numbers, whichever ran before."""
    import mxnet as mx

    np.random.seed(1)
    mx.random.seed(1)
