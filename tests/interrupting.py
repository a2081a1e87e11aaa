"""Jobs that are killed at random moments, and started again until they are done, beside one that nothing interrupts.

`make soak/training` sets SOAK_RUNS, of each algorithm, and SOAK_SEED.
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
    """How an algorithm's jobs are laid out, and what stands in lines about an epoch."""

    environment: str
    lay_out: Callable[[Path, int, int], Path]
    hyperparameters: dict[str, Any]
    lines: tuple[str, str]
    """Texts in the last line before its evaluation and in the one about that, with {} for its number."""
    evaluated: str
    """All of the latter, with a group for the number."""


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
    """A job of a few photos with a checkpoint after each epoch."""

    def __init__(self, name: str, base: Path) -> None:
        self.algorithm, self.base = ALGORITHMS[name], base
        self.algorithm.lay_out(base, 12, 4)
        small = {"num_training_samples": 12, "mini_batch_size": 4, "epochs": EPOCHS}
        jobs.configure(base, small, defaults=self.algorithm.hyperparameters)
        (base / "checkpoints").mkdir()
        self.environ = dict.fromkeys(VARIABLES, "1") | {"VISION_ALGORITHM": name}
        self.runs: list[jobs.Done] = []

    def run(self, until: str | None = None, delay: float = 0) -> bool:
        """Run it once, to its end or until a SIGKILL `delay` seconds after a line with `until`; whether it is done."""
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
        """Kill it at moments that `seed` draws, until it has been killed KILLS times, and let it end; it always can.

        A kill comes at a line of the epoch that is under way or of the next one, at once, which is when files are
        written, or up to `seconds` later; after the last epoch while the model is checked. One of four kills comes
        before training begins. The model folder is empty after every other kill, as in SageMaker; in a run of one's
        own it is as it was.
        """
        draw = random.Random(seed)
        for _ in range(KILLS):
            until, delay = self._moment(draw), draw.choice([0, draw.uniform(0, seconds)])
            if until == CHECKING:  # which may take less
                delay = 0
            assert not self.run(until, delay), f"it had ended before the kill, {delay} s after {until!r}"
            if draw.random() < 0.5:
                shutil.rmtree(self.base / "model", ignore_errors=True)
        self.run()

    def _moment(self, draw: random.Random) -> str:
        """Text of the line at which a kill comes."""
        if draw.random() < 0.25:
            return draw.choice(["", "Merging", str(self.base / "checkpoints")])
        done = [int(path.stem[-4:]) for path in (self.base / "checkpoints").glob("checkpoint-*")]
        epoch = max(done, default=0) + draw.choice([0, 1])
        if epoch >= EPOCHS:
            return CHECKING
        return draw.choice([*self.algorithm.lines, "Checkpoint after epoch {}:"]).format(epoch)

    def seconds(self) -> float:
        """How long its first run took for an epoch, from its log."""
        prefixed = re.findall(r"^\[(\S+ \S+) \S+ \d+\] Checkpoint after epoch ", self.runs[0].log, re.MULTILINE)
        first, *_, last = (datetime.strptime(time, "%m/%d/%Y %H:%M:%S") for time in prefixed)
        return max(0.2, (last - first).total_seconds() / (EPOCHS - 1))

    def evaluated(self) -> dict[int, set[str]]:
        """By epoch its lines in the logs of all runs: one, unless a kill came before the epoch's checkpoint.

        Fails where a run does not begin where its log says, or leaves out an epoch.
        """
        found: dict[int, set[str]] = {}
        for run in self.runs:
            resumed = re.search(r"Resuming from \S+: (\d+) epochs? done", run.log)
            begins = int(resumed[1]) if resumed else 0
            lines = {
                int(match[1]): line for line in run.lines if (match := re.fullmatch(self.algorithm.evaluated, line))
            }
            assert list(lines) == list(range(begins, begins + len(lines)))
            assert not lines or len(found) - 1 <= begins <= len(found)
            for epoch, line in lines.items():
                found.setdefault(epoch, set()).add(line)
        return found

    def final(self) -> dict[str, Any]:
        """The trainer's state after the last epoch."""
        return state.read(self.base / "checkpoints" / f"checkpoint-{EPOCHS:04d}.state")["trained"]

    def model(self) -> dict[str, bytes]:
        """The files of the model by name; without a content those that hold times, or how often a graph was traced."""
        found = {
            path.name: b"" if path.name.endswith(("model.json", "symbol.json", ".keras")) else path.read_bytes()
            for path in (self.base / "model").iterdir()
        }
        if "model.keras" in found:  # tf2onnx drops one reshaping more or less, whatever the process did before
            found["model.onnx"] = _weights(found["model.onnx"])
        return found


def _weights(graph: bytes) -> bytes:
    """An ONNX graph's weights, without their names."""
    arrays = map(onnx.numpy_helper.to_array, onnx.load_from_string(graph).graph.initializer)
    return b"".join(sorted(array.tobytes() for array in arrays if array.dtype == np.float32))


def check(name: str, folder: Path, seed: int, whole: Job) -> None:
    """Run a job that is killed, and compare what it leaves with `whole`, bit for bit."""
    job = Job(name, folder)
    job.run_with_kills(seed, whole.seconds())
    assert list(whole.evaluated()) == list(range(EPOCHS))
    assert job.evaluated() == whole.evaluated()
    assert resuming.differences(job.final(), whole.final()) == []
    found, wanted = job.model(), whole.model()
    assert sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)) == []
    print(f"{name}, seed {seed}: {len(job.runs) - 1} kills, {EPOCHS} epochs, all alike", file=sys.stderr)
