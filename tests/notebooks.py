"""The notebooks of examples/ as files: their cells, and their code as one program."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.images import TRAINING
from tests.environments import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
NAMES = TRAINING  # every algorithm has one


def path(name: str) -> Path:
    """The file of the notebook for the image `name`."""
    return EXAMPLES / f"{name}.ipynb"


def cells(name: str) -> list[dict[str, Any]]:
    """The notebook's cells, as the file has them."""
    return json.loads(path(name).read_text(encoding="utf-8"))["cells"]


def code(name: str, ids: Sequence[str]) -> str:
    """The code of those cells, in the notebook's order."""
    found = {cell["id"]: "".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"}
    assert set(ids) <= found.keys(), f"{path(name)} has no cell {set(ids) - found.keys()}"
    return "\n".join(source for identity, source in found.items() if identity in ids)
