"""The algorithms as `local` sees them: their channels, the demo's hyperparameters, and the evaluation of predictions.

Each module is named after its algorithm and defines one instance, ALGORITHM.
"""

import importlib
from typing import Any

from local.algorithms.algorithm import Algorithm
from local.images import TRAINING


def get(name: str) -> Algorithm[Any, Any]:
    """Return the algorithm `name`, one of TRAINING. Imports only its module."""
    module = importlib.import_module(f"local.algorithms.{name.replace('-', '_')}")
    algorithm: Algorithm[Any, Any] = module.ALGORITHM
    return algorithm


def get_all() -> list[Algorithm[Any, Any]]:
    """Return all algorithms, in the order of TRAINING."""
    return [get(name) for name in TRAINING]
