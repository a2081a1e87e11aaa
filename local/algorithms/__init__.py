"""What each algorithm makes of the data set: channels, the demo's hyperparameters, and how its answers are judged.

Its module, named like it, holds the one instance of its class, ALGORITHM.
"""

import importlib
from typing import Any

from local.algorithms.algorithm import Algorithm
from local.images import TRAINING


def get(name: str) -> Algorithm[Any, Any]:
    """The algorithm `name`, one of TRAINING; imports its module alone."""
    module = importlib.import_module(f"local.algorithms.{name.replace('-', '_')}")
    algorithm: Algorithm[Any, Any] = module.ALGORITHM
    return algorithm


def get_all() -> list[Algorithm[Any, Any]]:
    """Every algorithm, in the order of TRAINING."""
    return [get(name) for name in TRAINING]
