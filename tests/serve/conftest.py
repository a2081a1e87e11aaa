"""Servers for the models of tests/products/serving.py. Tests that do not change them share them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server import Server


@pytest.fixture(scope="session")
def models(product: Callable[[str], Path]) -> Path:
    """The folder of the models. `models / "classifier"` is laid out like /opt/ml."""
    return product("serving")


@contextmanager
def running(base: Path) -> Iterator[Server]:
    """Run a server until it is ready, and check at the end that its worker was not restarted."""
    with Server(base) as server:
        yield server.wait_until_ready()
        assert len([line for line in server.log() if "Booting worker" in line]) == 1, "the worker was restarted"


@pytest.fixture(scope="session")
def classifier(models: Path) -> Iterator[Server]:
    """A server for tests.products.serving.channel_means."""
    with running(models / "classifier") as server:
        yield server


@pytest.fixture(scope="session")
def detector(models: Path) -> Iterator[Server]:
    """A server for tests.products.serving.cell_scores."""
    with running(models / "detector") as server:
        yield server


@pytest.fixture(scope="session")
def segmenter(models: Path) -> Iterator[Server]:
    """A server for tests.products.serving.cell_logits."""
    with running(models / "segmenter") as server:
        yield server
