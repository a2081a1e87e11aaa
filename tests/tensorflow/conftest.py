"""Tests of what trains with TensorFlow. They share a process, so that TensorFlow is imported once."""

import pytest


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random numbers, whichever ran before: Python's, NumPy's and TensorFlow's."""
    import keras

    keras.utils.set_random_seed(1)
