"""What quantize=int8 adds to the end of a job: an int8 graph, its answers beside the float ones, and the decision."""

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
from train.files import replace as replacing
from train.files import writing
from train.job import stop
from train.log import LOG
from train.quantization import gate
from train.quantization.gate import Agreement, Score
from train.verify import lay_out, predict_with_server

Answers = list[NDArray[Any]]

_CALIBRATION, _LEAST, _PIXELS = 100, 16, 100 * 300 * 300  # photos, and of large inputs fewer
_SCAN_SECONDS = 120.0


@dataclass(frozen=True)
class Request:
    """What is asked for: photos to calibrate with, further ones to compare answers on, and the gate's tolerance.

    `options` are those of train.quantization.program.
    """

    calibration: Sequence[Sample[object]]
    others: Sequence[Sample[object]]
    seed: int
    tolerance: float
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """The float graph's `answers` to `files` by the server's code, and the `metric` of answers to the first `judged`.

    Of the others the truth is not asked for.
    """

    files: Sequence[Sample[object]]
    answers: Answers
    judged: int = 0
    metric: Callable[[Answers], float] = lambda answers: 0.0

    def score(self, answers: Answers, tolerance: float) -> Score | None:
        """Compare the metric of both graphs' answers; None where no truth is known."""
        if not self.judged:
            return None
        before, after = (self.metric(each[: self.judged]) for each in (self.answers, answers))
        return Score(before, after, self.judged, tolerance)


@dataclass(frozen=True)
class Trial:
    """One int8 graph beside the float one: `left` are the layers that stay float besides the last ones."""

    left: tuple[str, ...]
    size: int
    score: Score | None
    agreements: tuple[Agreement, ...]

    @property
    def comparisons(self) -> list[Score | Agreement]:
        """All that the gate has compared."""
        return [each for each in (self.score, *self.agreements) if each is not None]

    @property
    def failed(self) -> list[Score | Agreement]:
        """What keeps the graph from serving."""
        return [each for each in self.comparisons if not each.passed]

    def report(self) -> dict[str, Any]:
        """Return it as model.json has it."""
        return {
            "kept": not self.failed,
            "float_layers": list(self.left),
            "bytes": self.size,
            "score": self.score and asdict(self.score),
            "agreements": [asdict(each) for each in self.agreements],
        }


def quantize(folder: Path, known: Reference, request: Request) -> bool:
    """Put an int8 graph into the model folder, if it passes the gate, and note in model.json what was found.

    Return whether it serves. What goes wrong is logged: the model that is there already stays as it is.
    """
    try:
        return _quantize(folder, known, request)
    except TrainError as error:
        LOG.warning("quantize=int8: %s serves: there is no int8 graph: %s", MODEL_ONNX, error)
        return False


def _quantize(folder: Path, known: Reference, request: Request) -> bool:
    described = artifact.read(folder)
    known, calibration = _photos(folder, described.input, known, request)
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
                LOG.warning("Asked to stop: there is no time for %s", "a second int8 graph" if scan else "int8")
                break
            trials.append(_try(folder, work, described, known, request, scan))
            if not trials[-1].failed:
                replacing(folder / MODEL_INT8, lambda path: path.write_bytes((work / MODEL_INT8).read_bytes()))
                break
    kept = bool(trials) and not trials[-1].failed
    report = {
        "calibration_images": len(calibration),
        "images": len(known.answers),
        "float_bytes": (folder / MODEL_ONNX).stat().st_size,
        "tries": [trial.report() for trial in trials],
    }
    with writing(folder / MODEL_JSON):
        serves = Quantization(INT8 if kept else FLOAT32, reduced, report)
        artifact.write(replace(described, quantization=serves), folder)
    if kept:
        LOG.info("int8 is kept: %s serves; VISION_PRECISION=float32 serves %s", MODEL_INT8, MODEL_ONNX)
    else:
        LOG.warning("quantize=int8: %s serves, because no int8 graph has passed", MODEL_ONNX)
    return kept


def _photos(
    folder: Path, spec: InputSpec, known: Reference, request: Request
) -> tuple[Reference, list[Sample[object]]]:
    """Return what the answers are compared on, at least gate.PHOTOS where there are so many, and what calibrates."""
    count = min(_CALIBRATION, max(_LEAST, _PIXELS // (spec.height * spec.width)))
    order = np.random.default_rng(request.seed).permutation(len(request.calibration))
    training = [request.calibration[index] for index in order]
    wanted = max(0, gate.PHOTOS - len(known.files))
    there = {(sample.path, sample.offset) for sample in known.files}
    others = [sample for sample in request.others if (sample.path, sample.offset) not in there]
    # Those that calibrate come last: there the int8 graph is at its best.
    added = (others + training[count:] + training[:count])[:wanted]
    if added:
        LOG.info("int8 is also compared on %s without counting right answers", plural(len(added), "further image"))
        answers = predict_with_server(folder, added)
        known = replace(known, files=[*known.files, *added], answers=known.answers + answers)
    return known, training[:count]


def _try(
    folder: Path, work: Path, described: Artifact, known: Reference, request: Request, scan: tuple[str, ...]
) -> Trial:
    """Write an int8 graph into `work`, and judge it. Raises TrainError when it cannot be written or served."""
    command = [sys.executable, "-m", "train.quantization.program", "--model-dir", str(folder), "--work", str(work)]
    program = Path(__file__).resolve().parents[2]
    # A session of its own: Ctrl-C in a terminal goes to the whole group, and this job's end is to be finished.
    done = subprocess.run(
        [*command, *request.options, *scan], cwd=program, capture_output=True, text=True, start_new_session=True
    )
    if done.returncode:
        told = "".join(done.stderr.strip().splitlines()[-1:])  # below the trace
        raise TrainError(f"the quantiser failed with exit code {done.returncode}: {told}")
    layers = json.loads((work / "layers.json").read_text(encoding="utf-8"))
    if scan:
        told = f"{len(layers['scanned'])} of {plural(len(layers['all']), 'layer')}"
        LOG.info("Scanned %s alone in int8; left in float: %s", told, ", ".join(layers["float"]))
    answers = predict_with_server(work, known.files)
    trial = Trial(
        tuple(layers["float"]),
        (work / MODEL_INT8).stat().st_size,
        known.score(answers, request.tolerance),
        gate.agreements(described.task, known.answers, answers, several=described.output == "sigmoid"),
    )
    _say(trial, (folder / MODEL_ONNX).stat().st_size)
    return trial


def _say(trial: Trial, float_size: int) -> None:
    told = "; ".join(str(each) for each in trial.comparisons)
    LOG.info("int8 beside float: %s; %.1f MB for %.1f MB", told, trial.size / 1e6, float_size / 1e6)
    if trial.failed:
        LOG.warning("int8 is refused: %s", "; ".join(map(str, trial.failed)))
