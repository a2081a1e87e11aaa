"""Compares jobs that are killed at random moments and restarted with a job that is never interrupted.

`make soak/training` sets SOAK_RUNS (per algorithm) and SOAK_SEED.
"""

import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from tests import jobs, resuming
from train import state
from train.job.threads import VARIABLES

RUNS = int(os.environ.get("SOAK_RUNS", "0"))
SEEDS = [int(os.environ.get("SOAK_SEED", "0")) + run for run in range(RUNS or 1)]
KILLS = 5 if RUNS else 2
EPOCHS = 6
CHECKING = "Checking the artifact"


@dataclass(frozen=True)
class Algorithm:
    """How to lay out an algorithm's jobs, and its log lines about an epoch."""

    environment: str
    lay_out: Callable[[Path, int, int], Path]
    hyperparameters: dict[str, Any]
    lines: tuple[str, str]
    """Text in the last line before the evaluation and in the line about the evaluation. {} is the epoch's number."""
    evaluated: str
    """A pattern for the whole line about the evaluation, with a group for the epoch's number."""


KERAS = {"num_classes": 3, "image_shape": "3,32,32", "alpha": "0.35", "train_layers": "all"}
CLASSIFIED = ("Epoch[{}] Time cost", "Epoch[{}] Validation-accuracy"), r"Epoch\[(\d+)\] Validation-accuracy=.*"
ALGORITHMS = {
    "image-classification": Algorithm(
        "mxnet", jobs.image_channels, {**jobs.HYPERPARAMETERS, "checkpoint_frequency": 2}, *CLASSIFIED
    ),
    "object-detection": Algorithm(
        "mxnet",
        jobs.boxed_channels,
        jobs.DETECTION,
        ("epoch={}, batch=3 train smooth_l1", "epoch={}, validation mAP"),
        r"#quality_metric: .* epoch=(\d+), validation mAP .*",
    ),
    "semantic-segmentation": Algorithm(
        "mxnet",
        jobs.masked_channels,
        jobs.SEGMENTATION,
        ("epoch: {}, train throughput", "epoch: {}, validation mIOU"),
        r"#quality_metric\. .* epoch: (\d+), validation mIOU: .*",
    ),
    "image-classification-tensorflow": Algorithm("tensorflow", jobs.image_channels, KERAS, *CLASSIFIED),
}


class Job:
    """A job with a few photos and a checkpoint after each epoch."""

    def __init__(self, name: str, base: Path) -> None:
        self.algorithm, self.base = ALGORITHMS[name], base
        self.algorithm.lay_out(base, 12, 4)
        small = {"num_training_samples": 12, "mini_batch_size": 4, "epochs": EPOCHS}
        jobs.configure(base, small, defaults=self.algorithm.hyperparameters)
        (base / "checkpoints").mkdir()
        self.environ = dict.fromkeys(VARIABLES, "1") | {"VISION_ALGORITHM": name}
        self.runs: list[jobs.Done] = []

    def run(self, until: str | None = None, delay: float = 0) -> bool:
        """Run the job, and send SIGKILL `delay` seconds after a line with `until`. Return whether the job is done."""
        done = jobs.run(
            self.base,
            until=until,
            number=signal.SIGKILL,
            delay=delay,
            environ=self.environ,
            environment=self.algorithm.environment,
            program=("tests.trouble", "often"),
        )
        self.runs.append(done)
        assert done.code in ((0,) if until is None else (0, -signal.SIGKILL)), done.failure
        return done.code == 0

    def run_with_kills(self, seed: int, seconds: float) -> None:
        """Kill the job KILLS times at random moments, restarting it each time, then let it finish.

        A kill follows a log line of the current or next epoch, or of the model check after the last epoch. It comes
        immediately, while files are being written, or up to `seconds` later. One kill in four comes before training
        starts. The model folder is emptied with probability 0.5, as SageMaker does. A local run keeps it.
        """
        draw = random.Random(seed)
        for _ in range(KILLS):
            until, delay = self._moment(draw), draw.choice([0, draw.uniform(0, seconds)])
            if until == CHECKING:  # the check may be shorter than the delay
                delay = 0
            assert not self.run(until, delay), f"the job ended before the kill, {delay} s after {until!r}"
            if draw.random() < 0.5:
                shutil.rmtree(self.base / "model", ignore_errors=True)
        self.run()

    def _moment(self, draw: random.Random) -> str:
        """Return text in the log line that triggers the kill."""
        if draw.random() < 0.25:
            return draw.choice(["", "Merging", str(self.base / "checkpoints")])
        done = [int(path.stem[-4:]) for path in (self.base / "checkpoints").glob("checkpoint-*")]
        epoch = max(done, default=0) + draw.choice([0, 1])
        if epoch >= EPOCHS:
            return CHECKING
        return draw.choice([*self.algorithm.lines, "Checkpoint after epoch {}:"]).format(epoch)

    def seconds(self) -> float:
        """Return the duration of an epoch in the first run, from its log."""
        prefixed = re.findall(r"^\[(\S+ \S+) \S+ \d+\] Checkpoint after epoch ", self.runs[0].log, re.MULTILINE)
        first, *_, last = (datetime.strptime(time, "%m/%d/%Y %H:%M:%S") for time in prefixed)
        return max(0.2, (last - first).total_seconds() / (EPOCHS - 1))

    def evaluated(self) -> dict[int, set[str]]:
        """Return each epoch's evaluation lines from all runs: more than one only if a kill came before its checkpoint.

        Fail if a run does not begin at the epoch that its log gives, or skips an epoch.
        """
        evaluations: dict[int, set[str]] = {}
        for run in self.runs:
            resumed = re.search(r"Resuming from \S+: (\d+) epochs? done", run.log)
            first_epoch = int(resumed[1]) if resumed else 0
            lines = {
                int(match[1]): line for line in run.lines if (match := re.fullmatch(self.algorithm.evaluated, line))
            }
            assert list(lines) == list(range(first_epoch, first_epoch + len(lines)))
            assert not lines or len(evaluations) - 1 <= first_epoch <= len(evaluations)
            for epoch, line in lines.items():
                evaluations.setdefault(epoch, set()).add(line)
        return evaluations

    def final(self) -> dict[str, Any]:
        """Return the trainer's state after the last epoch."""
        return state.read(self.base / "checkpoints" / f"checkpoint-{EPOCHS:04d}.state")["trained"]

    def model(self) -> dict[str, bytes]:
        """Return the model's files by name. Files that contain times or trace counts have empty contents."""
        files = {
            path.name: b"" if path.name.endswith(("model.json", "symbol.json", ".keras")) else path.read_bytes()
            for path in (self.base / "model").iterdir()
        }
        if "model.keras" in files:  # tf2onnx does not always drop the same Reshape nodes
            files["model.onnx"] = _weights(files["model.onnx"])
        return files


def _weights(graph: bytes) -> bytes:
    """Return an ONNX graph's weights without their names."""
    arrays = map(onnx.numpy_helper.to_array, onnx.load_from_string(graph).graph.initializer)
    return b"".join(sorted(array.tobytes() for array in arrays if array.dtype == np.float32))


def check(name: str, folder: Path, seed: int, whole: Job) -> None:
    """Run a job with kills and compare its files with those of `whole`, bit for bit."""
    job = Job(name, folder)
    job.run_with_kills(seed, whole.seconds())
    assert list(whole.evaluated()) == list(range(EPOCHS))
    assert job.evaluated() == whole.evaluated()
    assert resuming.differences(job.final(), whole.final()) == []
    model, expected = job.model(), whole.model()
    assert sorted(name for name in model.keys() | expected.keys() if model.get(name) != expected.get(name)) == []
    print(f"{name}, seed {seed}: {len(job.runs) - 1} kills, {EPOCHS} epochs, identical", file=sys.stderr)
