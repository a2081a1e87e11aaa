"""The closing checks: the proof that what will be served is what was trained."""

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
    """What the two checks of a finished artifact compare.

    (a) `model.onnx` on `tensors` float32 (N, C, H, W) against `framework`'s outputs `expected`, by name: the largest
    absolute difference is at most `tolerance`. (b) the bytes of `files` through the server's own code: `metric` of the
    answers, one array for each file, is within 0.01 of `logged`, the framework's metric on the same files.
    """

    tensors: NDArray[np.float32]
    expected: Mapping[str, NDArray[np.float32]]
    files: Sequence[Sample[object]]
    metric: Callable[[list[NDArray[Any]]], float]
    logged: float
    tolerance: float = 1e-4
    framework: str = "MXNet"


def choose(count: int, most: int, most_stopped: int) -> NDArray[np.int64]:
    """Return which of `count` samples to check, int64, rising: at most `most`, and after a stop request fewer."""
    return evenly_spaced(count, most_stopped if stop.requested() else most)


def serving_python() -> Path:
    """Return the interpreter of the serving environment, which lies beside the training one."""
    return Path(sys.prefix).parent / "serve" / "bin" / "python"


def verify(model_dir: Path, check: Check) -> list[NDArray[Any]]:
    """Run both checks in the serving environment, and return its answers to the files. Raises TrainError if one fails.

    Raises UserError when a file can no longer be read.
    """
    found, answers = _run(model_dir, check.tensors, check.files)
    # np.max, because Python's max may drop a NaN.
    difference = float(np.max([np.abs(found[name] - wanted).max() for name, wanted in check.expected.items()]))
    served = check.metric(answers)
    LOG.info(
        "Check of model.onnx: largest difference from %s %.2g on %s; %.6f by the server's code on %s, %.6f logged",
        *(check.framework, difference, plural(len(check.tensors), "input"), served),
        *(plural(len(check.files), "file"), check.logged),
    )
    if not difference <= check.tolerance:
        raise TrainError(
            f"model.onnx differs from the trained network by {difference:.3g}, more than {check.tolerance:g}: "
            "the artifact must not be served; please report this with the log"
        )
    if not abs(served - check.logged) <= 0.01:
        raise TrainError(
            f"the server's code reaches {served:.4f} on {plural(len(check.files), 'validation file')} where training "
            f"logged {check.logged:.4f}: the artifact must not be served; please report this with the log"
        )
    return answers


def predict_with_server(model_dir: Path, files: Sequence[Sample[object]]) -> list[NDArray[Any]]:
    """Return the answers of the server's code to files: probabilities (classes,), detections (d, 6) or masks (H, W).

    Raises TrainError when it fails, UserError when a file can no longer be read.
    """
    spec = artifact.read(model_dir).input
    return _run(model_dir, np.empty((0, spec.channels, spec.height, spec.width), np.float32), files)[1]


def _run(
    model_dir: Path, tensors: NDArray[np.float32], files: Sequence[Sample[object]]
) -> tuple[dict[str, NDArray[np.float32]], list[NDArray[Any]]]:
    python = serving_python()
    if not python.exists():
        raise TrainError(
            f"{python} is missing: the artifact is checked by the server's own code, in the environment beside "
            f"{sys.prefix}"
        )
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        work = Path(folder)
        with writing(work):
            np.save(work / "tensors.npy", tensors)
            names = lay_out(files, work)
        _run_check(python, model_dir, work, names)
        with np.load(work / "tensor_outputs.npz") as outputs, np.load(work / "file_outputs.npz") as answers:
            return dict(outputs), [answers[str(number)] for number in range(len(files))]


def lay_out(files: Sequence[Sample[object]], work: Path, what: str = "validation image") -> dict[str, str]:
    """Write the samples' bytes and files.json into `work`; return the names of the samples by the paths of the copies.

    A sample may be a record in a .rec file, which the server's code does not read; so all are copied. Raises UserError,
    which says `what` a sample is, when one can no longer be read.
    """
    names = {str(work / f"{number}.image"): sample.name for number, sample in enumerate(files)}
    for path, sample in zip(names, files, strict=True):
        try:
            Path(path).write_bytes(sample.read())
        except UnreadableImage as error:
            raise UserError(
                f"{what} {sample.name} {error}, although it was readable when training began: the channel "
                "must not change until the job ends"
            ) from None
    (work / "files.json").write_text(json.dumps(list(names)))
    return names


def _run_check(python: Path, model_dir: Path, work: Path, names: Mapping[str, str] | None = None) -> None:
    command = [str(python), "-m", "serve.engine.check", "--model-dir", str(model_dir), "--work", str(work)]
    program = Path(__file__).resolve().parent.parent
    # A session of its own: Ctrl-C in a terminal goes to the whole group, and this job's end is to be finished.
    done = subprocess.run(command, cwd=program, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        said = done.stderr.strip()[-600:]
        for path, name in (names or {}).items():
            if path in said:  # the user knows the channel's file, not our copy of it
                told = said.removeprefix("serve.engine.check: ").replace(path, name)
                raise TrainError(f"the server's code cannot read a validation image: {told}")
        raise TrainError(f"the check of the artifact failed with exit code {done.returncode}: {said}")
