"""Fixtures of the TensorFlow tests. The tests share a process, so TensorFlow is imported once."""

import pytest


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Seed Python, NumPy and TensorFlow before every test."""
    import keras

    keras.utils.set_random_seed(1)
