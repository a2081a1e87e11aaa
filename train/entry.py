"""The entry point that the training toolkit calls: find the algorithm, run the job, report failures to SageMaker.

The toolkit turns `sys.exit(n)` into exit code 0, uses an OSError's errno as the exit code, and puts "Framework Error:
Traceback" before every message. Therefore this module catches all exceptions, writes `output/failure` first (the
toolkit does not overwrite it), and raises an exception of its own with the exit code as `errno`.
"""

import errno
import importlib
import logging
import os
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve.words import sentence
from train import hyperparameter_types
from train.errors import TrainError, UserError
from train.job import configuration, cuda, earlier_model, script
from train.log import LOG

if TYPE_CHECKING:
    from train.job.training import Algorithm

ALGORITHM = "VISION_ALGORITHM"
# Each algorithm has a package with the name of its image.
ALGORITHMS = {
    package.name.replace("_", "-"): f"train.{package.name}.job"
    for package in sorted(Path(__file__).parent.iterdir())
    if (package / "job.py").exists()
}
SCRIPTS = ("image-classification-tensorflow",)  # images that support script mode
_FAILURE_LIMIT = 1024  # characters of output/failure that SageMaker shows
_FIXES: dict[int | None, str] = {
    errno.EROFS: "mount it writable, without :ro",
    errno.EACCES: "give the container's user write permission",
    errno.EPERM: "give the container's user write permission",
    errno.EEXIST: "it must be a folder",
    errno.ENOTDIR: "it must be a folder",
    errno.ENOSPC: "free space there, or set a larger volume_size",
}


def main() -> None:
    """Run this container's job. Raises UserError (exit code 2) or TrainError (exit code 1)."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        with earlier_model.restored_on_failure(base / "model"):
            _run(base)
    except UserError as error:
        _fail(base, f"ClientError: {error}", error.detail)
        raise
    except TrainError as error:
        _fail(base, str(error), error.detail)
        raise
    except Exception as error:  # the user must see the reason for any error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = (
            f"{type(error).__name__}: {sentence(str(error))} (at {Path(frame.filename).name}, line {frame.lineno})"
        )
        LOG.error(trace := traceback.format_exc())
        _fail(base, message, trace)
        raise TrainError(message) from error


def prepare() -> None:
    """Remove the result of an earlier run in the same folder, and exit with code 2 if the job cannot start.

    The job cannot start if a configuration file is invalid, or if an output folder is not writable, which would
    otherwise fail only after the first epoch. The toolkit reads the configuration before it calls `main`. Its own
    errors do not name the file, and without an output folder it cannot write its failure file and exits with code 0.
    """
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        _require_writable(base / "output")
        for name in ("failure", "success"):
            (base / "output" / name).unlink(missing_ok=True)
        _require_writable(base / "model")
        configuration.check(base / "input" / "config")
    except UserError as error:
        _fail(base, f"ClientError: {error}")
        raise SystemExit(2) from None


def _require_writable(folder: Path) -> None:
    """Create the folder if it is missing. Raises UserError if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # has no name, so a stop request leaves no file behind
            probe.write(b"on a full disk, files can be created but not written")
    except OSError as error:
        fix = _FIXES.get(error.errno, "mount a writable folder there")
        raise UserError(f"{folder} cannot be written ({error.strerror or error}): {fix}") from None


def _run(base: Path) -> None:
    name = os.environ.get(ALGORITHM, "")
    raw = hyperparameter_types.read(base / "input" / "config" / "hyperparameters.json")
    if program := script.requested_program(raw, os.environ):
        if name not in SCRIPTS:
            raise UserError(
                f"hyperparameter {script.PROGRAM}={program!r} requests a script, which this image does not support: "
                f"only {' and '.join(SCRIPTS)} does; remove entry_point and source_dir to train {name}"
            )
        script.run(base, raw, os.environ)
        return
    if name not in ALGORITHMS:
        raise TrainError(
            f"environment variable {ALGORITHM}={name!r} is not an algorithm of this image: set it to one of "
            f"{', '.join(ALGORITHMS)}"
        )
    LOG.info("Merging the defaults with the provided configuration: %s", raw)
    if "seed" in hyperparameter_types.user_settings(raw):
        # cuDNN's autotuning picks the fastest algorithm, which may differ between runs.
        os.environ.setdefault("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0")
    from train.job import training  # imports NumPy, so only after the thread variables are set

    training.run(algorithm(name), base, raw, os.environ)


def algorithm(name: str) -> "Algorithm[Any]":
    """Return one of ALGORITHMS. This imports its framework."""
    cuda.load_stand_in()
    return importlib.import_module(ALGORITHMS[name]).ALGORITHM


def _fail(base: Path, message: str, detail: str = "") -> None:
    """Log the failure and write `output/failure`: the message, and the end of the detail below it.

    Keep an existing failure file: since `prepare`, only the user's script can have written it.
    """
    LOG.error(message)
    # The toolkit would log the message again as "Framework Error" with a traceback, and then that the file exists.
    logging.getLogger("sagemaker-training-toolkit").addFilter(
        lambda record: not record.getMessage().startswith(("Framework Error", "Failure file exists"))
    )
    text = message[:_FAILURE_LIMIT]
    tail = detail[-(_FAILURE_LIMIT - len(text) - 2) :] if detail and len(text) + 2 < _FAILURE_LIMIT else ""
    try:
        (base / "output").mkdir(parents=True, exist_ok=True)
        if (base / "output" / "failure").exists():
            return
        content = f"{text}\n\n{tail}" if tail else text
        # File names may contain bytes that are not UTF-8. Python keeps them as surrogates, which UTF-8 cannot encode.
        (base / "output" / "failure").write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        LOG.error("output/failure could not be written (%s): the error above is only in this log", error)
