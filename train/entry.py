"""What the training toolkit calls: find the algorithm, run the job, report a failure where SageMaker looks.

The toolkit turns `sys.exit(n)` into exit code 0, an OSError's errno into the exit code, and puts "Framework Error:
Traceback" before everybody's message. So everything is caught here, `output/failure` is written first (the toolkit
does not overwrite it), and what is raised is an exception of ours whose `errno` is the exit code.
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
# A package of each algorithm, named like its image.
ALGORITHMS = {
    package.name.replace("_", "-"): f"train.{package.name}.job"
    for package in sorted(Path(__file__).parent.iterdir())
    if (package / "job.py").exists()
}
SCRIPTS = ("image-classification-tensorflow",)  # images that run a user's own program in place of theirs
_FAILURE_LIMIT = 1024  # characters of the file that SageMaker shows
_INSTEAD: dict[int | None, str] = {
    errno.EROFS: "mount it writable, without :ro",
    errno.EACCES: "let the user that this container runs as write there",
    errno.EPERM: "let the user that this container runs as write there",
    errno.EEXIST: "it must be a folder",
    errno.ENOTDIR: "it must be a folder",
    errno.ENOSPC: "free space there, or set a larger volume_size",
}


def main() -> None:
    """Run the job of this container. Raises UserError (exit code 2) or TrainError (exit code 1)."""
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
    except Exception as error:  # the last resort: whatever it is, the reason must reach the user
        place = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {sentence(str(error))} (at {Path(place.filename).name}, line {place.lineno})"
        LOG.error(trace := traceback.format_exc())
        _fail(base, told, trace)
        raise TrainError(told) from error


def prepare() -> None:
    """Forget how an earlier run in the same folder ended, and end the process with exit code 2 if this cannot begin.

    That is: what the job will write to cannot be written, which would otherwise show after its first epoch; or a file
    of its configuration cannot be used. The toolkit reads those before it calls `main`, names no file when one is
    wrong, and where there is no output folder it fails to write its own failure file and ends with exit code 0.
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
    """Make the folder if it is missing. Raises UserError when no file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # it has no name, so a stop request leaves nothing behind
            probe.write(b"a full disk makes empty files")
    except OSError as error:
        instead = _INSTEAD.get(error.errno, "mount a folder there that can be written")
        raise UserError(f"{folder} cannot be written ({error.strerror or error}): {instead}") from None


def _run(base: Path) -> None:
    name = os.environ.get(ALGORITHM, "")
    raw = hyperparameter_types.read(base / "input" / "config" / "hyperparameters.json")
    if program := script.requested_program(raw, os.environ):
        if name not in SCRIPTS:
            raise UserError(
                f"hyperparameter {script.PROGRAM}={program!r} asks to run a script, which this image does not: only "
                f"{' and '.join(SCRIPTS)} does; leave entry_point and source_dir out to train {name}"
            )
        script.run(base, raw, os.environ)
        return
    if name not in ALGORITHMS:
        raise TrainError(
            f"the environment variable {ALGORITHM}={name!r} names no algorithm of this image: set it to "
            f"one of {', '.join(ALGORITHMS)}"
        )
    LOG.info("Merging the defaults with the provided configuration: %s", raw)
    if "seed" in hyperparameter_types.user_settings(raw):
        # cuDNN would try its algorithms and take the fastest, which is not the same one in each run.
        os.environ.setdefault("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0")
    from train.job import training  # imports NumPy, before which the thread variables must be set

    training.run(algorithm(name), base, raw, os.environ)


def algorithm(name: str) -> "Algorithm[Any]":
    """Return one of ALGORITHMS, which imports its framework."""
    cuda.load_stand_in()
    return importlib.import_module(ALGORITHMS[name]).ALGORITHM


def _fail(base: Path, told: str, detail: str = "") -> None:
    """Log the failure and write `output/failure`: the useful sentence, and the end of the detail below it.

    A failure file that is there is left: only a script of the user's can have written it since `prepare`.
    """
    LOG.error(told)
    # The toolkit would print the same once more as "Framework Error" with a traceback, and that the file is there.
    logging.getLogger("sagemaker-training-toolkit").addFilter(
        lambda record: not record.getMessage().startswith(("Framework Error", "Failure file exists"))
    )
    text = told[:_FAILURE_LIMIT]
    tail = detail[-(_FAILURE_LIMIT - len(text) - 2) :] if detail and len(text) + 2 < _FAILURE_LIMIT else ""
    try:
        (base / "output").mkdir(parents=True, exist_ok=True)
        if (base / "output" / "failure").exists():
            return
        whole = f"{text}\n\n{tail}" if tail else text
        # A file name may hold bytes that are no UTF-8, which Python keeps as characters that UTF-8 has not.
        (base / "output" / "failure").write_text(whole, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        LOG.error("output/failure could not be written (%s): the reason above stands in this log alone", error)
