"""Reads the cells and the code of the notebooks in examples/."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.images import TRAINING
from tests.environments import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
NAMES = TRAINING  # every algorithm has one


def path(name: str) -> Path:
    """Return the notebook file for the image `name`."""
    return EXAMPLES / f"{name}.ipynb"


def cells(name: str) -> list[dict[str, Any]]:
    """Return the notebook's cells as they are in the file."""
    return json.loads(path(name).read_text(encoding="utf-8"))["cells"]


def code(name: str, ids: Sequence[str]) -> str:
    """Return the code of these cells in the notebook's order."""
    sources = {cell["id"]: "".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"}
    assert set(ids) <= sources.keys(), f"{path(name)} has no cell {set(ids) - sources.keys()}"
    return "\n".join(source for cell_id, source in sources.items() if cell_id in ids)
