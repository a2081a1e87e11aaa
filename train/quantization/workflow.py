"""Add an int8 graph to a model folder: write it, compare the predictions of both graphs, accept or reject it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve import artifact
from serve.artifact import FLOAT32, INT8, MODEL_INT8, MODEL_JSON, MODEL_ONNX, Artifact, InputSpec, Quantization
from serve.words import plural
from train.data.samples import Sample
from train.errors import TrainError
from train.files import replace as replace_file
from train.files import writing
from train.job import stop
from train.log import LOG
from train.quantization import gate
from train.quantization.gate import Agreement, Score
from train.verify import lay_out, predict_with_server

Predictions = list[NDArray[Any]]

# The number of calibration photos: fewer for large inputs, to limit the total number of pixels.
_MAX_CALIBRATION, _MIN_CALIBRATION, _MAX_PIXELS = 100, 16, 100 * 300 * 300
_SCAN_SECONDS = 120.0


@dataclass(frozen=True)
class Request:
    """The settings for an int8 graph: calibration photos, more photos for the comparison, and the gate's tolerance.

    `options` are command-line options of train.quantization.program.
    """

    calibration: Sequence[Sample[object]]
    others: Sequence[Sample[object]]
    seed: int
    tolerance: float
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """The float graph's `predictions` for `files`, from the serving code.

    The first `labelled` files have ground truth, and `metric` computes the metric of predictions for these.
    """

    files: Sequence[Sample[object]]
    predictions: Predictions
    labelled: int = 0
    metric: Callable[[Predictions], float] = lambda predictions: 0.0

    def score(self, predictions: Predictions, tolerance: float) -> Score | None:
        """Compare the metric of both graphs' predictions. Return None if there is no ground truth."""
        if not self.labelled:
            return None
        before, after = (self.metric(values[: self.labelled]) for values in (self.predictions, predictions))
        return Score(before, after, self.labelled, tolerance)


@dataclass(frozen=True)
class Trial:
    """The comparison of an int8 graph with the float graph. `float_layers` excludes the last layers."""

    float_layers: tuple[str, ...]
    size: int
    score: Score | None
    agreements: tuple[Agreement, ...]

    @property
    def comparisons(self) -> list[Score | Agreement]:
        """All comparisons of the gate."""
        return [comparison for comparison in (self.score, *self.agreements) if comparison is not None]

    @property
    def failed(self) -> list[Score | Agreement]:
        """The comparisons that failed."""
        return [comparison for comparison in self.comparisons if not comparison.passed]

    def report(self) -> dict[str, Any]:
        """Return the entry for model.json."""
        return {
            "kept": not self.failed,
            "float_layers": list(self.float_layers),
            "bytes": self.size,
            "score": self.score and asdict(self.score),
            "agreements": [asdict(agreement) for agreement in self.agreements],
        }


def quantize(folder: Path, reference: Reference, request: Request) -> bool:
    """Add an int8 graph to the model folder if it passes the gate, and write a report to model.json.

    Return whether it will be served. An error is logged, and the existing model does not change.
    """
    try:
        return _quantize(folder, reference, request)
    except TrainError as error:
        LOG.warning("quantize=int8: %s will be served, because there is no int8 graph: %s", MODEL_ONNX, error)
        return False


def _quantize(folder: Path, reference: Reference, request: Request) -> bool:
    described = artifact.read(folder)
    reference, calibration = _photos(folder, described.input, reference, request)
    LOG.info("Quantizing to int8, calibrated on %s, seed %d", plural(len(calibration), "training image"), request.seed)
    trials: list[Trial] = []
    reduced = "--full-range" not in request.options
    with tempfile.TemporaryDirectory(prefix="quantize-") as temporary:
        work = Path(temporary)
        with writing(work):
            lay_out(calibration, work, "training image")
            (work / MODEL_ONNX).symlink_to((folder / MODEL_ONNX).resolve())
            artifact.write(replace(described, quantization=Quantization(INT8, reduced, {})), work)
        for scan in ((), ("--scan", str(_SCAN_SECONDS))):
            if stop.requested():
                LOG.warning("Asked to stop: skipping %s", "a second int8 graph" if scan else "int8")
                break
            trials.append(_try(folder, work, described, reference, request, scan))
            if not trials[-1].failed:
                replace_file(folder / MODEL_INT8, lambda path: path.write_bytes((work / MODEL_INT8).read_bytes()))
                break
    kept = bool(trials) and not trials[-1].failed
    report = {
        "calibration_images": len(calibration),
        "images": len(reference.predictions),
        "float_bytes": (folder / MODEL_ONNX).stat().st_size,
        "tries": [trial.report() for trial in trials],
    }
    with writing(folder / MODEL_JSON):
        quantization = Quantization(INT8 if kept else FLOAT32, reduced, report)
        artifact.write(replace(described, quantization=quantization), folder)
    if kept:
        LOG.info(
            "int8 is accepted: %s will be served; set VISION_PRECISION=float32 to serve %s", MODEL_INT8, MODEL_ONNX
        )
    else:
        LOG.warning("quantize=int8: %s will be served, because no int8 graph passed", MODEL_ONNX)
    return kept


def _photos(
    folder: Path, spec: InputSpec, reference: Reference, request: Request
) -> tuple[Reference, list[Sample[object]]]:
    """Return the reference, extended to gate.MIN_PHOTOS photos if there are enough, and the calibration photos."""
    count = min(_MAX_CALIBRATION, max(_MIN_CALIBRATION, _MAX_PIXELS // (spec.height * spec.width)))
    order = np.random.default_rng(request.seed).permutation(len(request.calibration))
    training = [request.calibration[index] for index in order]
    missing = max(0, gate.MIN_PHOTOS - len(reference.files))
    existing = {(sample.path, sample.offset) for sample in reference.files}
    others = [sample for sample in request.others if (sample.path, sample.offset) not in existing]
    # Calibration photos are the last choice, because the int8 graph performs best on them.
    added = (others + training[count:] + training[:count])[:missing]
    if added:
        LOG.info("int8 is also compared on %s, without ground truth", plural(len(added), "further image"))
        predictions = reference.predictions + predict_with_server(folder, added)
        reference = replace(reference, files=[*reference.files, *added], predictions=predictions)
    return reference, training[:count]


def _try(
    folder: Path, work: Path, described: Artifact, reference: Reference, request: Request, scan: tuple[str, ...]
) -> Trial:
    """Write an int8 graph to `work` and compare it. Raises TrainError if it cannot be written or served."""
    command = [sys.executable, "-m", "train.quantization.program", "--model-dir", str(folder), "--work", str(work)]
    program = Path(__file__).resolve().parents[2]
    # In a new session, because Ctrl-C in a terminal would end the program with the job; the job must finish its model.
    done = subprocess.run(
        [*command, *request.options, *scan], cwd=program, capture_output=True, text=True, start_new_session=True
    )
    if done.returncode:
        reason = "".join(done.stderr.strip().splitlines()[-1:])  # below the traceback
        raise TrainError(f"the quantizer failed with exit code {done.returncode}: {reason}")
    layers = json.loads((work / "layers.json").read_text(encoding="utf-8"))
    if scan:
        scanned = f"{len(layers['scanned'])} of {plural(len(layers['all']), 'layer')}"
        LOG.info("Scanned %s in int8, one at a time; kept in float: %s", scanned, ", ".join(layers["float"]))
    predictions = predict_with_server(work, reference.files)
    trial = Trial(
        tuple(layers["float"]),
        (work / MODEL_INT8).stat().st_size,
        reference.score(predictions, request.tolerance),
        gate.agreements(described.task, reference.predictions, predictions, multi_label=described.output == "sigmoid"),
    )
    _log(trial, (folder / MODEL_ONNX).stat().st_size)
    return trial


def _log(trial: Trial, float_size: int) -> None:
    result = "; ".join(map(str, trial.comparisons))
    LOG.info("int8 compared with float: %s; %.1f MB instead of %.1f MB", result, trial.size / 1e6, float_size / 1e6)
    if trial.failed:
        LOG.warning("int8 is rejected: %s", "; ".join(map(str, trial.failed)))
