"""The final checks: verify that the serving code reproduces the trained network's outputs and metric."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve import artifact
from serve.preprocess import UnreadableImage
from serve.words import plural
from train.data.samples import Sample, evenly_spaced
from train.errors import TrainError, UserError
from train.files import writing
from train.job import stop
from train.log import LOG


@dataclass(frozen=True)
class Check:
    """The inputs of the two checks of a finished artifact.

    (a) The outputs of `model.onnx` for `tensors`, float32 (N, C, H, W), must differ by at most `tolerance` from
    `framework`'s outputs `expected`, by name. (b) The serving code predicts one array for each of `files`; the `metric`
    of the predictions must be within 0.01 of `logged`, the framework's metric on the same files.
    """

    tensors: NDArray[np.float32]
    expected: Mapping[str, NDArray[np.float32]]
    files: Sequence[Sample[object]]
    metric: Callable[[list[NDArray[Any]]], float]
    logged: float
    tolerance: float = 1e-4
    framework: str = "MXNet"


def choose(count: int, limit: int, limit_if_stopped: int) -> NDArray[np.int64]:
    """Return the indices of the samples to check, out of `count`: at most `limit`, or fewer after a stop request."""
    return evenly_spaced(count, limit_if_stopped if stop.requested() else limit)


def serving_python() -> Path:
    """Return the interpreter of the serving environment, which is next to the training environment."""
    return Path(sys.prefix).parent / "serve" / "bin" / "python"


def verify(model_dir: Path, check: Check) -> list[NDArray[Any]]:
    """Run both checks in the serving environment and return its predictions for the files.

    Raises TrainError if a check fails, and UserError if a file can no longer be read.
    """
    outputs, predictions = _run(model_dir, check.tensors, check.files)
    # np.max, because Python's max may drop a NaN.
    difference = float(np.max([np.abs(outputs[name] - expected).max() for name, expected in check.expected.items()]))
    served = check.metric(predictions)
    LOG.info(
        "Check of model.onnx: largest difference from %s %.2g on %s; %.6f through the serving code on %s, %.6f logged",
        check.framework,
        difference,
        plural(len(check.tensors), "input"),
        served,
        plural(len(check.files), "file"),
        check.logged,
    )
    if not difference <= check.tolerance:
        raise TrainError(
            f"model.onnx differs from the trained network by {difference:.3g}, more than {check.tolerance:g}: "
            "do not serve this artifact, and please report this with the log"
        )
    if not abs(served - check.logged) <= 0.01:
        raise TrainError(
            f"the serving code reaches {served:.4f} on {plural(len(check.files), 'validation file')} but training "
            f"logged {check.logged:.4f}: do not serve this artifact, and please report this with the log"
        )
    return predictions


def predict_with_server(model_dir: Path, files: Sequence[Sample[object]]) -> list[NDArray[Any]]:
    """Return the serving code's predictions for files: probabilities (classes,), detections (d, 6) or masks (H, W).

    Raises TrainError if the serving code fails, and UserError if a file can no longer be read.
    """
    spec = artifact.read(model_dir).input
    return _run(model_dir, np.empty((0, spec.channels, spec.height, spec.width), np.float32), files)[1]


def _run(
    model_dir: Path, tensors: NDArray[np.float32], files: Sequence[Sample[object]]
) -> tuple[dict[str, NDArray[np.float32]], list[NDArray[Any]]]:
    python = serving_python()
    if not python.exists():
        raise TrainError(
            f"{python} is missing: the serving code checks the artifact, and needs its environment next to {sys.prefix}"
        )
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        work = Path(folder)
        with writing(work):
            np.save(work / "tensors.npy", tensors)
            names = lay_out(files, work)
        _run_check(python, model_dir, work, names)
        with np.load(work / "tensor_outputs.npz") as outputs, np.load(work / "file_outputs.npz") as predictions:
            return dict(outputs), [predictions[str(number)] for number in range(len(files))]


def lay_out(files: Sequence[Sample[object]], work: Path, what: str = "validation image") -> dict[str, str]:
    """Copy the samples' bytes into `work` and write files.json; return the samples' names by the paths of the copies.

    All samples are copied because a sample may be a record in a .rec file, which the serving code cannot read. `what`
    describes a sample in the UserError that is raised if one can no longer be read.
    """
    names = {str(work / f"{number}.image"): sample.name for number, sample in enumerate(files)}
    for path, sample in zip(names, files, strict=True):
        try:
            Path(path).write_bytes(sample.read())
        except UnreadableImage as error:
            raise UserError(
                f"{what} {sample.name} {error}, although it was readable when the job began: the channel must not "
                "change until the job ends"
            ) from None
    (work / "files.json").write_text(json.dumps(list(names)))
    return names


def _run_check(python: Path, model_dir: Path, work: Path, names: Mapping[str, str] | None = None) -> None:
    command = [str(python), "-m", "serve.engine.check", "--model-dir", str(model_dir), "--work", str(work)]
    program = Path(__file__).resolve().parent.parent
    # In a new session, because Ctrl-C in a terminal would end the check with the job; the job must finish its model.
    done = subprocess.run(command, cwd=program, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        stderr = done.stderr.strip()[-600:]
        for path, name in (names or {}).items():
            if path in stderr:  # name the file in the user's channel instead of the copy
                reason = stderr.removeprefix("serve.engine.check: ").replace(path, name)
                raise TrainError(f"the serving code cannot read a validation image: {reason}")
        raise TrainError(f"the check of the artifact failed with exit code {done.returncode}: {stderr}")
