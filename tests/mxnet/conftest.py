"""Fixtures of the MXNet tests. The tests share a process, so MXNet is imported once."""

import os

import numpy as np
import pytest

# Set this before MXNet is imported. Otherwise the threads of two workers would compete for two processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Seed NumPy and MXNet before every test."""
    import mxnet as mx

    np.random.seed(1)
    mx.random.seed(1)
