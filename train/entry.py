"""What the training toolkit calls: find the algorithm, run the job, report a failure where SageMaker looks.

The toolkit turns `sys.exit(n)` into exit code 0, an OSError's errno into the exit code, and puts "Framework Error:
Traceback" before everybody's message. So everything is caught here, `output/failure` is written first (the toolkit
does not overwrite it), and what is raised is an exception of ours whose `errno` is the exit code.
"""

import importlib
import logging
import os
import traceback
from pathlib import Path

from train import cluster, hyperparameters
from train.errors import TrainError, UserError
from train.log import LOG

ALGORITHM = "VISION_ALGORITHM"
ALGORITHMS = {
    "image-classification": "train.image_classification.job",
    "object-detection": "train.object_detection.job",
}
_FAILURE_LIMIT = 1024  # characters of the file that SageMaker shows


def main() -> None:
    """Run the job of this container. Raises UserError (exit code 2) or TrainError (exit code 1)."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        _run(base)
    except UserError as error:
        _fail(base, f"ClientError: {error}")
        raise
    except TrainError as error:
        _fail(base, str(error))
        raise
    except Exception as error:  # the last resort: whatever it is, the reason must reach the user
        place = traceback.extract_tb(error.__traceback__)[-1]
        sentence = f"{type(error).__name__}: {error} (at {Path(place.filename).name}, line {place.lineno})"
        _fail(base, sentence, traceback.format_exc())
        raise TrainError(sentence) from error


def require_configuration() -> None:
    """End the process with exit code 2 and a ClientError when a file that the toolkit reads is missing.

    The toolkit reads all three before it calls `main`, and where there is no output folder it fails to write its own
    failure file and ends with exit code 0.
    """
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    for name in ("hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"):
        path = base / "input" / "config" / name
        if not path.exists():
            _fail(base, f"ClientError: {path} is missing: SageMaker writes it; for a run of your own see docs/data.md")
            raise SystemExit(2)
    (base / "output").mkdir(parents=True, exist_ok=True)


def _run(base: Path) -> None:
    name = os.environ.get(ALGORITHM, "")
    if name not in ALGORITHMS:
        raise TrainError(
            f"the environment variable {ALGORITHM}={name!r} names no algorithm of this image: set it to "
            f"one of {', '.join(ALGORITHMS)}"
        )
    raw = hyperparameters.read(base / "input" / "config" / "hyperparameters.json")
    LOG.info("Merging the defaults with the provided configuration: %s", raw)
    cluster.one_host(base)
    if (base / "input" / "config" / "checkpointconfig.json").exists():
        LOG.warning(
            "this version does not resume from checkpoints: after an interruption the job starts again "
            "from its first epoch"
        )
    if any(Path("/dev").glob("nvidia[0-9]*")):
        LOG.warning("this image computes on the CPU: the GPU of this machine is not used")
    importlib.import_module(ALGORITHMS[name]).run(base, raw, os.environ)


def _fail(base: Path, sentence: str, trace: str = "") -> None:
    """Log the failure and write `output/failure`, the useful sentence first; never over an existing file."""
    LOG.error(sentence)
    # The toolkit would print the same once more as "Framework Error" with a traceback, below the sentence.
    logging.getLogger("sagemaker-training-toolkit").addFilter(
        lambda record: not record.getMessage().startswith("Framework Error")
    )
    if trace:
        LOG.error(trace)
    path = base / "output" / "failure"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        text = sentence[:_FAILURE_LIMIT]
        tail = trace[-(_FAILURE_LIMIT - len(text) - 2) :] if trace and len(text) + 2 < _FAILURE_LIMIT else ""
        path.write_text(f"{text}\n\n{tail}" if tail else text)
