"""Runs script-mode jobs without Docker."""

import json
import os
from pathlib import Path
from typing import Any

from tests import jobs

IMAGE = "image-classification-tensorflow"


def prepare(base: Path, files: dict[str, str], program: str = "train.py", **hyperparameters: Any) -> Path:
    """Lay out `base` like /opt/ml with a channel `training` and the files in a source folder. Return `base`.

    Encode every hyperparameter as JSON, as the SDK's framework estimators do.
    """
    (base / "input" / "data" / "training").mkdir(parents=True, exist_ok=True)
    source = base / "source"
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    values = {"sagemaker_program": program, "sagemaker_submit_directory": str(source), **hyperparameters}
    jobs.configure(base, {name: json.dumps(value) for name, value in values.items()}, defaults={})
    return base


def run(base: Path, **options: Any) -> jobs.Done:
    """Run the real `train` of the TensorFlow image on `base`."""
    environ = {"VISION_ALGORITHM": IMAGE} | options.pop("environ", {})
    return jobs.run(base, environ=environ, environment="tensorflow", **options)


def written(base: Path, name: str) -> Any:
    """Return the JSON file that a script wrote to the model folder."""
    return json.loads((base / "model" / name).read_text())


def names(folder: Path) -> list[str]:
    """Return the paths of all files below a folder."""
    return sorted(os.fspath(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
