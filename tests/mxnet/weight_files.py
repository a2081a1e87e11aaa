"""Weight files with torchvision's names and random values (see tests/fixtures/pretrained/make_fixture.py)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.fixtures.pretrained.make_fixture import FOLDER, draw_all


def fixture(network: str) -> dict[str, Any]:
    """Return the fixture of a network: the rows of its `tensors`, an `image`, and the library's outputs for it."""
    return json.loads((FOLDER / f"{network}.json").read_text())


def weight_file(network: str, folder: Path) -> Path:
    """Write `network`.safetensors. VGG's classifier, 90 % of a real file, has only names and dummy values."""
    file = folder / f"{network}.safetensors"
    rows = fixture(network)["tensors"]
    classifier = {row[0]: np.zeros(1, np.float32) for row in rows if row[0].startswith("classifier.")}
    save_file(draw_all(row for row in rows if row[0] not in classifier) | classifier, file)
    return file
