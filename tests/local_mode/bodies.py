"""What the local-mode tests run beside an SDK, in that SDK's environment: no pytest at the top."""

import base64
import contextlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

SMALL = {"num_layers": 20, "image_shape": "3,32,32", "resize": 36, "mini_batch_size": 8, "epochs": 1, "num_classes": 3}
CHANNELS = ("train", "validation", "train_lst", "validation_lst")


def notebook(code: str, folder: str, answer: str) -> dict[str, Any]:
    """Run a snippet of SDK v2 in `folder`.

    What its variable named `answer` holds in the end (bytes in base64), the job's hyperparameters and log, the files in
    model.tar.gz.
    """
    os.chdir(folder)
    names: dict[str, Any] = {}
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):
            exec(compile(code, "docs/switching.md", "exec"), names)
    finally:
        print(log.getvalue())
    estimator = names["estimator"]
    with tarfile.open(estimator.model_data.removeprefix("file://")) as archive:
        files = archive.getnames()
    value = names[answer]
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode("ascii")
    said = {"answer": value, "hyperparameters": estimator.hyperparameters()}
    return {**said, "log": log.getvalue(), "files": files}


def script(code: str, folder: str) -> list[float]:
    """Run SDK v3's snippet in `folder`; its probabilities."""
    os.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/switching.md", "exec"), names)
    return names["probabilities"]


def transform(code: str, folder: str) -> dict[str, str]:
    """Run a snippet of SDK v2 in `folder`; the texts of the files in its folder `answers`, by their names."""
    os.chdir(folder)
    exec(compile(code, "docs/local-mode.md", "exec"), {})
    return {path.name: path.read_text() for path in Path("answers").iterdir()}


def fit(uri: str, folder: str, input_mode: str, hyperparameters: dict[str, Any]) -> dict[str, str]:
    """Fit with SDK v2 on the channels in `folder`; the job's log, and "error": what `fit` raised, or ""."""
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput

    estimator = Estimator(
        uri,
        "arn:aws:iam::111122223333:role/unused",
        instance_count=1,
        instance_type="local",
        hyperparameters={**SMALL, "num_training_samples": 36, **hyperparameters},
    )
    inputs = {
        name: TrainingInput(f"file://{Path(folder, name)}", content_type="application/x-image", input_mode=input_mode)
        for name in CHANNELS
    }
    log = io.StringIO()
    error = ""
    with contextlib.redirect_stdout(log):
        try:
            estimator.fit(inputs)
        except RuntimeError as failure:
            error = str(failure)
    print(log.getvalue())
    return {"log": log.getvalue(), "error": error}


def is_detections(value: object, classes: int) -> bool:
    """Whether `value` is a list of [class, score, xmin, ymin, xmax, ymax], best score first, boxes in fractions."""
    return (
        isinstance(value, list)
        and all(isinstance(row, list) and len(row) == 6 for row in value)
        and all(isinstance(number, float) and 0 <= number <= 1 for row in value for number in row[1:])
        and all(row[0] in range(classes) and row[2] <= row[4] and row[3] <= row[5] for row in value)
        and value == sorted(value, key=lambda row: -row[1])
    )


def is_probabilities(value: object, classes: int) -> bool:
    """Whether `value` is a list of `classes` floats from 0 to 1 that sum to 1."""
    return (
        isinstance(value, list)
        and len(value) == classes
        and all(isinstance(p, float) and 0 <= p <= 1 for p in value)
        and abs(sum(json.loads(json.dumps(value))) - 1) < 1e-4
    )
