"""Runs an artifact through the server's code in the serving environment."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.environments import REPOSITORY, python


def outputs(model: Path, tensors: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of model.onnx for float32 (N, C, H, W), by name."""
    return _check(model, tensors, [])[0]


def predict(model: Path, photos: Sequence[Path]) -> list[np.ndarray]:
    """Return the prediction for each image file: probabilities (K,), detections (d, 6) or a mask (H, W)."""
    shape = json.loads((model / "model.json").read_text())["input"]
    none = np.zeros((0, shape["channels"], shape["height"], shape["width"]), np.float32)
    return _check(model, none, photos)[1]


def _check(model: Path, tensors: np.ndarray, photos: Sequence[Path]) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        np.save(work / "tensors.npy", tensors)
        (work / "files.json").write_text(json.dumps([str(photo) for photo in photos]))
        command = [python("serve"), "-m", "serve.engine.check", "--model-dir", model, "--work", work]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=True)
        with np.load(work / "tensor_outputs.npz") as by_name, np.load(work / "file_outputs.npz") as by_number:
            return dict(by_name), [by_number[str(number)] for number in range(len(photos))]
