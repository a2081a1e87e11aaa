"""Servers on the models of tests/products/serving.py, each for all tests that leave it as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server import Server


@pytest.fixture(scope="session")
def models(product: Callable[[str], Path]) -> Path:
    """The folder of the models: `models / "classifier"` is shaped like /opt/ml."""
    return product("serving")


@contextmanager
def running(base: Path) -> Iterator[Server]:
    """A server that answers, whose worker must live as long as it does."""
    with Server(base) as server:
        yield server.wait_until_ready()
        assert len([line for line in server.log() if "Booting worker" in line]) == 1, "the worker was restarted"


@pytest.fixture(scope="session")
def classifier(models: Path) -> Iterator[Server]:
    """The server of tests.products.serving.channel_means."""
    with running(models / "classifier") as server:
        yield server


@pytest.fixture(scope="session")
def detector(models: Path) -> Iterator[Server]:
    """The server of tests.products.serving.cell_scores."""
    with running(models / "detector") as server:
        yield server


@pytest.fixture(scope="session")
def segmenter(models: Path) -> Iterator[Server]:
    """The server of tests.products.serving.cell_logits."""
    with running(models / "segmenter") as server:
        yield server
